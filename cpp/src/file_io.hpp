// Whole files in and out; knows nothing of what they hold.
#pragma once

#include <string>

namespace gru {

// Throws std::system_error naming the path.
std::string read_file(const std::string& path);

// Writes a sibling, flushes it to the disk and renames it over `path`, then flushes the folder: at
// any moment the path holds the old file or the new one, whole. Throws std::system_error; the
// sibling is then removed.
void write_file_atomically(const std::string& path, const std::string& bytes);

}  // namespace gru
