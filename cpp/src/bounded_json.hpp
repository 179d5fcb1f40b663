// JSON of a model file's header, of which no more is made than a model needs; knows no model.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

namespace gru {

using Json = nlohmann::ordered_json;

constexpr int kDeepest = 4;  // what a header nests: tensors, their fields, their arrays
// Values and keys, of which a tensor takes eleven: each becomes up to 100 bytes, and keys are found
// by looking at all of them.
constexpr int64_t kMostValues = 1 << 15;

// What makes JSON more than a model's, before any of it is made: nesting, because copying, printing
// and destroying recurse, or the number of values. Empty if nothing does; whether the text is JSON
// at all is for its parser.
inline std::string excess(std::string_view text) {
  int64_t values = 0;
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      quoted = c != '"';
      continue;
    }
    quoted = c == '"';
    const bool opens = c == '[' || c == '{';
    depth += opens ? 1 : c == ']' || c == '}' ? -1 : 0;
    if (depth > kDeepest) return "is nested too deeply";
    if ((opens || c == ',' || c == ':') && ++values > kMostValues) {
      return "has more than " + std::to_string(kMostValues) + " values, more than a model's";
    }
  }
  return "";
}

inline Json parse(std::string_view text) {
  const std::string why = excess(text);
  if (!why.empty()) throw std::invalid_argument("its header " + why);
  return Json::parse(text.begin(), text.end());
}

// For a message: the value if it is a short string, else only its type.
inline std::string brief(const Json& value) {
  if (!value.is_string()) return value.type_name();
  return "'" + value.get<std::string>().substr(0, 40) + "'";
}

}  // namespace gru
