"""Check digits: whether a number can be what it looks like. All take the number without blanks and punctuation."""

from __future__ import annotations

# Verhoeff (1969), "Error detecting decimal codes": multiplication in the dihedral group of ten, and its permutation.
_DIHEDRAL = (
    "0123456789",
    "1234067895",
    "2340178956",
    "3401289567",
    "4012395678",
    "5987604321",
    "6598710432",
    "7659821043",
    "8765932104",
    "9876543210",
)
_PERMUTED = "1576283094"
_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
_OMOCODIA = str.maketrans("LMNPQRSTUV", "0123456789")  # letters that stand for digits where two people had one code
CONTROL_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"


def luhn(number: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    return sum(sum(divmod(int(d) * (1 + n % 2), 10)) for n, d in enumerate(reversed(number))) % 10 == 0


def iban(number: str) -> bool:
    """ISO 13616: the first four characters moved to the end, letters as 10 to 35, modulo 97 (ISO 7064)."""
    return int("".join(str(int(c, 36)) for c in number[4:] + number[:4])) % 97 == 1


def bsn(number: str) -> bool:
    """Dutch citizen service number: the weighted sum, the last digit weighing -1, is divisible by eleven."""
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return number != "0" * 9 and sum(w * int(d) for w, d in zip(weights, number, strict=True)) % 11 == 0


def steuer_id(number: str) -> bool:
    """German tax id (section 139b AO): ISO 7064 MOD 11,10; one digit of the first ten is there twice or thrice."""
    if number[0] == "0" or len(set(number[:10])) not in {8, 9}:
        return False
    product = 10
    for digit in number[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(number[10])


def nir(number: str) -> bool:
    """French INSEE number: month plausible, Corsica 2A and 2B read as 19 and 18, key 97 minus the rest modulo 97."""
    month = int(number[3:5])
    body = number[:13].upper().replace("2A", "19").replace("2B", "18")
    return (1 <= month <= 12 or 20 <= month <= 42 or month >= 50) and 97 - int(body) % 97 == int(number[13:])  # noqa: PLR2004  INSEE: unknown months


def dni(number: str) -> bool:
    """Spanish DNI and NIE (Real Decreto 1553/2005): the letter of the number modulo 23; X, Y, Z begin as 0, 1, 2."""
    digits = number[:-1].upper().translate(str.maketrans("XYZ", "012"))
    return CONTROL_LETTERS[int(digits) % 23] == number[-1].upper()


def codice_fiscale(code: str) -> bool:
    """Italian tax code (D.M. 23 December 1976): characters at odd places weigh otherwise than those at even ones."""
    code = code.upper()
    values = [int(c, 36) - 10 if c.isalpha() else int(c) for c in code]
    total = sum(_ODD[v] if n % 2 == 0 else v for n, v in enumerate(values[:15]))
    day = int(code[9:11].translate(_OMOCODIA))
    return total % 26 == values[15] and (1 <= day <= 31 or 41 <= day <= 71)  # noqa: PLR2004  days of women are 40 more


def ean13(number: str) -> bool:
    """GS1 General Specifications, section 7.9; the Swiss AHV number is one that begins with 756."""
    return sum(int(d) * (1, 3)[n % 2] for n, d in enumerate(number)) % 10 == 0


def aadhaar(number: str) -> bool:
    """Indian UIDAI number: Verhoeff over all twelve digits."""
    check = 0
    for place, digit in enumerate(reversed(number)):
        value = digit
        for _ in range(place % 8):
            value = _PERMUTED[int(value)]
        check = int(_DIHEDRAL[check][int(value)])
    return check == 0


def cpf(number: str) -> bool:
    """Brazilian CPF (Receita Federal): two check digits modulo eleven; all digits alike are never issued."""
    if len(set(number)) == 1:
        return False
    for length in (9, 10):
        total = sum(int(d) * (length + 1 - n) for n, d in enumerate(number[:length]))
        if total * 10 % 11 % 10 != int(number[length]):
            return False
    return True


def social_security(number: str) -> bool:
    """US Social Security number (ssa.gov): area not 000, 666 or 9xx, group not 00, serial not 0000."""
    area, group, serial = number[:3], number[3:5], number[5:]
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"


def national_insurance(number: str) -> bool:
    """UK National Insurance number (HMRC manual NIM39110): prefixes never given out."""
    return number[:2].upper() not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}
