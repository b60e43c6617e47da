from __future__ import annotations
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from tests.conftest import House
def test_x(house: House) -> None:
    s = house.live()
    print(house.standing(s))
    house.sound()
