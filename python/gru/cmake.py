"""Where the C++ and C side of the package lies: headers, library, CMake's gruConfig.cmake."""

from __future__ import annotations

from pathlib import Path

from gru import _core

__all__ = ["cmake_dir"]


def cmake_dir() -> Path:
    """Return the folder that holds ``gruConfig.cmake``, for ``-Dgru_DIR=`` or CMAKE_PREFIX_PATH.

    Raises
    ------
    FileNotFoundError
        If it is not beside the compiled module, as where that was copied by hand.
    """
    folder = Path(str(_core.__file__)).parent / "lib" / "cmake" / "gru"
    if not (folder / "gruConfig.cmake").is_file():
        raise FileNotFoundError(
            f"{folder} holds no gruConfig.cmake: install the package with pip, which brings it"
        )
    return folder
