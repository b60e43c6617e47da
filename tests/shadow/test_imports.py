"""Logs, bills and headcounts: read a row at a time, all or nothing, and every wrong row is told."""

from __future__ import annotations

import tracemalloc
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from bedplate.errors import InvalidInput
from bedplate.shadow.bill import read_bill
from bedplate.shadow.feed import read_headcount
from bedplate.shadow.logs import read_log
from bedplate.shadow.rows import SHOWN, read_text, reading

if TYPE_CHECKING:
    from pathlib import Path

    from bedplate.shadow.sighting import Sighting


def micros(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000_000)


NOW = micros("2026-11-23T12:00:00Z")
SQUID = "1795435200.123    250 10.1.2.3 TCP_TUNNEL/200 4521 CONNECT api.openai.com:443 - HIER_DIRECT/1.2.3.4 -"
COMMON = '10.1.2.3 - mara [23/Nov/2026:10:00:00 +0100] "GET https://claude.ai/chat HTTP/1.1" 200 512 "-" "x"'
JSON = (
    '{"ts": "2026-11-23T10:00:00Z", "src_ip": "10.9.9.9", "url": "https://bedrock-runtime.eu-west-1.amazonaws.com/x"}'
)
DNSMASQ = "Nov 23 10:00:00 dnsmasq[412]: query[A] chat.openai.com from 10.1.2.3"
BIND = "23-Nov-2026 10:00:00.123 queries: info: client @0x7f 10.1.2.3#5353 (x): query: api.mistral.ai IN A +E(0)K"
PLAIN = "2026-11-23T10:00:00Z 10.1.2.3 generativelanguage.googleapis.com"
AWS = (
    "lineItem/ProductCode,lineItem/UsageType,lineItem/UnblendedCost,lineItem/UsageAccountId,lineItem/CurrencyCode,"
    "lineItem/UsageStartDate\nAmazonBedrock,EUC1-Claude-input,0.004,1234,USD,2026-11-01T00:00:00Z\n"
    "AmazonBedrock,EUC1-Claude-output,12.346,1234,USD,2026-11-02T00:00:00Z\nAmazonEC2,x,999,1234,USD,2026-11-02\n"
)
AZURE = (
    "Date,MeterCategory,MeterSubCategory,SubscriptionName,CostInBillingCurrency,BillingCurrency,CostCenter\n"
    '11/05/2026,Azure OpenAI,"gpt-5, input",claims-prod,40.10,EUR,claims\n'
)
GOOGLE = (
    "service.description,sku.description,project.id,cost,currency,usage_start_time\n"
    "Vertex AI,Gemini input,proj-7,-1.5,EUR,2026-11-03 00:00:00 UTC\n"
    "Vertex AI,Gemini input,proj-7,3,EUR,2026-11-04 00:00:00 UTC\n"
)


def log(text: str, **options: str) -> list[Sighting]:
    reader = read_text(text, "proxy.log")
    found = read_log(reader, NOW, **options)  # type: ignore[arg-type]  # only team is given
    reader.wrong.settle()
    return found


def bill(text: str) -> list[Sighting]:
    reader = read_text(text, "bill.csv")
    found = read_bill(reader)
    reader.wrong.settle()
    return found


@pytest.mark.parametrize(
    ("line", "what", "where", "at"),
    [
        (SQUID, "api.openai.com", "10.1.2.3", "2026-11-23T12:00:00.123Z"),
        (COMMON, "claude.ai", "mara", "2026-11-23T09:00:00Z"),
        (JSON, "bedrock-runtime.eu-west-1.amazonaws.com", "10.9.9.9", "2026-11-23T10:00:00Z"),
        (DNSMASQ, "chat.openai.com", "10.1.2.3", "2026-11-23T10:00:00Z"),
        (BIND, "api.mistral.ai", "10.1.2.3", "2026-11-23T10:00:00Z"),
        (PLAIN, "generativelanguage.googleapis.com", "10.1.2.3", "2026-11-23T10:00:00Z"),
    ],
    ids=["squid", "common", "json", "dnsmasq", "bind", "plain"],
)
def test_a_log_of_every_format_shows_who_asked_whom_when(line: str, what: str, where: str, at: str) -> None:
    other = line.replace(what, "www.example.com")
    (found,) = log(f"# a comment\n{line}\n\n{other}\n{line}\n")
    assert (found.what, found.where, found.times, found.first) == (what, where, 2, micros(at))


def test_clients_of_a_team_are_one_sighting() -> None:
    lines = "\n".join(PLAIN.replace("10.1.2.3", f"10.1.2.{n}") for n in range(5))
    (found,) = log(lines, team="claims")
    assert (found.where, found.team, found.times, found.hints) == ("claims", "claims", 5, ("clients: 5",))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("what is this", "expected Squid's native format"),
        ("{not json", "not a JSON object"),
        ('{"host": "x", "ts": 1}', "lacks client: one of client"),
        ('{"host": "api.openai.com", "ts": "soon", "src": "a"}', "'soon' is no time"),
        ('{"host": "http://[", "ts": 1795435200, "src": "a"}', "names no host"),
        (COMMON.replace("23/Nov/2026", "99/Nov/2026"), "is no time"),
    ],
)
def test_a_wrong_line_of_a_log_says_where_and_what(line: str, why: str) -> None:
    with pytest.raises(InvalidInput) as wrong:
        log(f"{SQUID}\n{line}\n")
    assert "1 row is wrong; nothing was imported\nproxy.log:2: " in wrong.value.message
    assert why in wrong.value.message


def test_bills_of_three_clouds_are_read_and_parts_of_a_cent_add_up() -> None:
    shown = [(s.what, s.where, s.provider, s.cents, s.currency, s.times, s.team) for s in bill(AWS)]
    assert shown == [("AmazonBedrock", "1234", "AWS Bedrock", 1235, "USD", 2, "")]
    (azure,) = bill(AZURE)
    assert azure.provider == "Azure OpenAI"
    assert (azure.what, azure.where, azure.cents, azure.currency, azure.team) == (
        "Azure OpenAI",
        "claims-prod",
        4010,
        "EUR",
        "claims",
    )
    (google,) = bill(GOOGLE)
    assert (google.provider, google.cents, google.first) == ("Google", 150, micros("2026-11-03T00:00:00Z"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (AZURE.replace("40.10", "forty"), "bill.csv:2: 'forty' is no amount"),
        (AZURE.replace("40.10", "NaN"), "no amount that can be billed"),
        (AZURE.replace("EUR", "Euro"), "bill.csv:2: 'EURO' is no currency"),
        (AZURE.replace("11/05/2026", "May"), "'May' is no day"),
        (AZURE.replace(",claims\n", "\n"), "6 fields where 7 columns are named"),
        (AZURE.replace("CostInBillingCurrency", "Money"), "has no column lineitem/unblendedcost or"),
        (AZURE.replace("CostCenter", "Date"), "names a column twice"),
        (GOOGLE.replace("3,EUR", "3,USD"), "bill.csv:3: Vertex AI is billed in EUR and in USD"),
        ("", "has no column"),
    ],
)
def test_a_wrong_bill_says_where_and_what(text: str, why: str) -> None:
    with pytest.raises(InvalidInput) as wrong:
        bill(text)
    assert why in wrong.value.message


def test_headcounts_are_whole_numbers_of_distinct_teams() -> None:
    reader = read_text("team,headcount\npeople,40\nclaims, 12 \n", "teams.csv")
    assert read_headcount(reader) == {"people": 40, "claims": 12}
    reader = read_text("Team,Headcount\npeople,-4\nclaims,1e3\nclaims,3\nclaims,4\n,5\n", "teams.csv")
    read_headcount(reader)
    with pytest.raises(InvalidInput) as wrong:
        reader.wrong.settle()
    assert [line.partition(":")[2][:2] for line in wrong.value.message.splitlines()[1:]] == ["2:", "3:", "5:", "6:"]


def bad(path: Path, rows: int) -> None:
    with path.open("w") as file:
        file.write("team,headcount\n")
        for number in range(rows):
            file.write(f"team {number},none\n")


def refused(path: Path) -> tuple[str, int]:
    """Read a file of headcounts; returns why it is refused, and the bytes that this held at most."""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput) as wrong, reading(path) as reader:
            read_headcount(reader)
        return wrong.value.message, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_many_bad_rows_are_counted_and_twenty_are_told_in_flat_memory(tmp_path: Path) -> None:
    held = []
    for rows in (1_000, 20_000):
        bad(tmp_path / "teams.csv", rows)
        message, most = refused(tmp_path / "teams.csv")
        assert message.startswith(f"{rows:,} rows are wrong; nothing was imported\nteams.csv:2: 'none' is no headcount")
        assert message.endswith(f"... and {rows - SHOWN:,} more")
        assert len(message.splitlines()) == SHOWN + 2
        held.append(most)
    assert held[1] < held[0] + 400_000, "twenty times the rows; kept, they would be megabytes"


@pytest.mark.slow
def test_a_million_bad_rows_of_a_bill_and_a_log_apply_nothing(tmp_path: Path) -> None:
    head = AZURE.splitlines()[0]
    (tmp_path / "bill.csv").write_text(head + "\n" + "11/05/2026,Azure OpenAI,x,y,much,EUR,z\n" * 1_000_000)
    with pytest.raises(InvalidInput, match=r"^1,000,000 rows are wrong"), reading(tmp_path / "bill.csv") as reader:
        read_bill(reader)
    (tmp_path / "proxy.log").write_text("what is this\n" * 1_000_000)
    with pytest.raises(InvalidInput, match=r"^1,000,000 rows are wrong"), reading(tmp_path / "proxy.log") as reader:
        read_log(reader, NOW)


def test_a_line_without_end_and_bytes_that_are_no_text_are_wrong_rows(tmp_path: Path) -> None:
    path = tmp_path / "teams.csv"
    path.write_bytes(b"\xef\xbb\xbfteam,headcount\npeople,4\n\xff\xfe,3\n" + b"x" * 200_000 + b"\nclaims,2\n")
    with pytest.raises(InvalidInput) as wrong, reading(path) as reader:
        assert read_headcount(reader) == {"people": 4, "claims": 2}
    assert "teams.csv:3: the line is not UTF-8" in wrong.value.message
    assert "teams.csv:4: the line has more than 65536 bytes" in wrong.value.message
    with pytest.raises(InvalidInput, match="cannot be read"), reading(tmp_path / "nowhere"):
        pass
