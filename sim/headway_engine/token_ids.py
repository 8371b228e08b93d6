"""How token ids are held: four bytes each, so a long prompt costs what its text does."""

from array import array
from typing import TypeAlias

TokenIds: TypeAlias = "array[int]"
"""Of type code "I": unsigned 32 bits.  (Quoted: ``array`` takes no subscript before 3.12.)"""

assert array("I").itemsize == 4
