"""Writes bytes as a C header, so that a program holds a model without a file system."""

from __future__ import annotations

import re

__all__ = ["header", "identifier"]

A_LINE = 24  # bytes
ALIGNMENT = 64  # a cache line, so that what is at a multiple of 8 in the file is in memory too
# Words that name no array in C, C++ or their libraries.
WORDS = """
alignas alignof and and_eq asm assert auto bitand bitor bool break case catch char class
co_await co_return co_yield compl concept const const_cast consteval constexpr constinit
continue decltype default delete do double dynamic_cast else enum errno explicit export extern
false float for friend goto if inline int linux long main mutable namespace new noexcept not
not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires
restrict return short signed sizeof static static_assert static_cast stderr stdin stdout struct
switch template this thread_local throw true try typedef typeid typename union unix unsigned
using virtual void volatile wchar_t while xor xor_eq
"""
RESERVED = frozenset(WORDS.split())

TEMPLATE = """\
/* {title}

   The bytes of a model file of gru: what reads the file can read {name} and {name}_size.
   Made by gru.export; C99 and C++11 or newer. */
#ifndef {guard}
#define {guard}

#include <stddef.h>

#if defined(__cplusplus)
#define {guard}_ALIGNED alignas({alignment})
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define {guard}_ALIGNED _Alignas({alignment})
#elif defined(__GNUC__)
#define {guard}_ALIGNED __attribute__((aligned({alignment})))
#else
#define {guard}_ALIGNED
#endif

static const size_t {name}_size = {size}u;
{guard}_ALIGNED static const unsigned char {name}[{size}] = {{
{lines}
}};

#undef {guard}_ALIGNED

#endif /* {guard} */
"""


def identifier(name: str) -> str:
    """Return a name of C and C++ that is as near as can be to that of a file.

    Examples
    --------
    >>> identifier("voice-16k"), identifier("2nd model"), identifier("float"), identifier("__a")
    ('voice_16k', 'model_2nd_model', 'model_float', 'a')
    """
    found = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]", "_", name)).strip("_")
    return f"model_{found}".strip("_") if not found[:1].isalpha() or found in RESERVED else found


def header(content: bytes, name: str, title: str) -> str:
    """Return a C header that holds bytes as a constant array.

    Parameters
    ----------
    content : bytes
        Of the model file.
    name : str
        Of the array; the constant with its size is ``NAME_size``, the guard ``NAME_H``.
    title : str
        One line for people.

    Raises
    ------
    ValueError
        If ``name`` is no name of C and C++.

    Examples
    --------
    >>> print(header(b"gru", "model", "three bytes"))  # doctest: +ELLIPSIS
    /* three bytes
    ...
    MODEL_H_ALIGNED static const unsigned char model[3] = {
    103,114,117
    };
    ...
    """
    if not name or identifier(name) != name.strip("_") or name.startswith("_"):
        raise ValueError(
            f"name must be a name of C and C++ without leading or double underscores, got {name!r}"
        )
    rows = (content[at : at + A_LINE] for at in range(0, len(content), A_LINE))
    return TEMPLATE.format(
        title=title.replace("*/", "* /"),
        name=name,
        guard=f"{name.upper()}_H",
        alignment=ALIGNMENT,
        size=len(content),
        lines=",\n".join(",".join(map(str, row)) for row in rows),
    )
