// The model file: safetensors with the architecture, a checksum and a self-check in its metadata.
//
// Layout (safetensors): 8 bytes little-endian header length, a JSON header, the tensors' bytes.
// In the metadata: format, format_version, architecture (JSON), self_check (JSON), checksum, and
// under "user" whatever the caller gave. The checksum is FNV-1a over the whole file with the
// checksum's own digits as zeros. On disk the z rows of a GRU are always in the "keep" convention.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string_view>

#include "bounded_json.hpp"
#include "file_io.hpp"
#include "gru/file.hpp"
#include "self_check.hpp"

namespace gru {
namespace {

constexpr const char* kFormatVersion = "1";
constexpr const char* kChecksumKey = "\"checksum\":\"";
constexpr std::size_t kChecksumDigits = 16;

// Bytes of a header: what it becomes in memory stays below that of the file. Safetensors itself
// allows 100 MB in any file.
uint64_t largest_header(uint64_t file) { return std::max<uint64_t>(1 << 20, file / 4); }

template <class R>
constexpr const char* kDtype = sizeof(R) == 4 ? "F32" : "F64";

// ---------------------------------------------------------------- checksum

uint64_t fnv1a(const char* bytes, std::size_t count, uint64_t hash) {
  for (std::size_t i = 0; i < count; ++i) {
    hash = (hash ^ static_cast<unsigned char>(bytes[i])) * 0x100000001b3ULL;
  }
  return hash;
}

std::string checksum_of(std::string_view file, std::size_t digits_at) {
  const std::string zeros(kChecksumDigits, '0');
  const std::size_t after = digits_at + kChecksumDigits;
  uint64_t hash = fnv1a(file.data(), digits_at, 0xcbf29ce484222325ULL);
  hash = fnv1a(zeros.data(), zeros.size(), hash);
  hash = fnv1a(file.data() + after, file.size() - after, hash);
  char text[kChecksumDigits + 1];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

// ---------------------------------------------------------------- architecture

struct WriteFields {
  Json& to;
  template <class T>
  void operator()(const char* name, const T& value) const {
    to[name] = value;
  }
  template <class T>
  void optional(const char* name, const T& value) const {
    if (value != T()) to[name] = value;
  }
};

struct ReadFields {
  const Json& from;
  void operator()(const char* name, int64_t& value) const {
    const Json& field = get(name);
    if (!field.is_number_integer()) wrong(name, "an integer", field);
    value = field.get<int64_t>();
  }
  void operator()(const char* name, bool& value) const {
    const Json& field = get(name);
    if (!field.is_boolean()) wrong(name, "true or false", field);
    value = field.get<bool>();
  }
  void operator()(const char* name, double& value) const {
    const Json& field = get(name);
    if (!field.is_number()) wrong(name, "a number", field);
    value = field.get<double>();
  }
  void operator()(const char* name, std::string& value) const {
    const Json& field = get(name);
    if (!field.is_string()) wrong(name, "a string", field);
    value = field.get<std::string>();
  }
  template <class T>
  void optional(const char* name, T& value) const {
    if (from.contains(name)) (*this)(name, value);
  }

 private:
  const Json& get(const char* name) const {
    if (!from.contains(name)) throw std::invalid_argument(std::string("a layer has no ") + name);
    return from.at(name);
  }
  [[noreturn]] static void wrong(const char* name, const char* expected, const Json& got) {
    throw std::invalid_argument(std::string("a layer's ") + name + " must be " + expected +
                                ", got " + brief(got));
  }
};

template <class R>
Json describe(const Sequential<R>& model) {
  Json list = Json::array();
  for (const auto& layer : model.layers()) {
    LayerSpec spec = layer->spec();
    Json fields = {{"kind", name_of(spec.kind)}};
    visit_fields(spec, WriteFields{fields});
    list.push_back(fields);
  }
  return list;
}

std::vector<LayerSpec> read_architecture(std::string_view text) {
  const Json list = parse(text);
  if (!list.is_array()) throw std::invalid_argument("its architecture is not a list of layers");
  std::vector<LayerSpec> specs;
  for (const Json& fields : list) {
    LayerSpec spec;
    if (!fields.is_object()) throw std::invalid_argument("a layer of it is not an object");
    std::string kind;
    ReadFields{fields}("kind", kind);
    spec.kind = kind_of(kind);
    visit_fields(spec, ReadFields{fields});
    check(spec);
    specs.push_back(spec);
  }
  return specs;
}

// ---------------------------------------------------------------- tensors

std::string tensor_name(std::size_t layer, const Parameter& parameter) {
  return std::to_string(layer) + "." + parameter.name;
}

// Negates the z rows of a "new" GRU: sigmoid(-a) = 1 - sigmoid(a) turns one convention into the
// other, exactly.
template <class R>
void swap_update_gate(const LayerSpec& spec, const Parameter& parameter, R* values) {
  if (spec.kind != Kind::gru || spec.update_gate != "new") return;
  // Negated rows of weights give negated normalised numbers, whose gain is the same.
  if (parameter.name.compare(0, 5, "norm_") == 0) return;
  const int64_t third = parameter.size / 3;
  for (int64_t i = third; i < 2 * third; ++i) values[i] = -values[i];
}

// ---------------------------------------------------------------- self-check

template <class R>
constexpr double kCheckTolerance = sizeof(R) == 4 ? 1e-4 : 1e-9;

// JSON has no NaN and no infinity: they are stored by name.
Json to_json(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

template <class R>
void verify(const Sequential<R>& model, const Json& expected) {
  const std::vector<double> got = self_check(model);
  if (!expected.is_array() || expected.size() != got.size()) {
    throw std::invalid_argument("its self-check does not fit its architecture");
  }
  // Rounding differs between instruction sets by a part of what was summed, not of the sum.
  double largest = 1;
  for (const double value : got) {
    if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
  }
  for (std::size_t i = 0; i < got.size(); ++i) {
    const Json value = to_json(got[i]);
    if (value == expected[i]) continue;
    const bool numbers = value.is_number() && expected[i].is_number();
    const double want = numbers ? expected[i].get<double>() : 0;
    if (numbers && std::abs(got[i] - want) <= kCheckTolerance<R> * largest) continue;
    throw std::invalid_argument("its self-check fails: value " + std::to_string(i) + " must be " +
                                (numbers ? std::to_string(want) : brief(expected[i])) + ", got " +
                                std::to_string(got[i]));
  }
}

// ---------------------------------------------------------------- reading

struct Header {
  Json tensors;
  Json metadata;
  std::size_t data_at;
};

const std::string& need(const Json& metadata, const char* key) {
  if (!metadata.contains(key) || !metadata.at(key).is_string()) {
    throw std::invalid_argument(std::string("its metadata has no ") + key);
  }
  return metadata.at(key).get_ref<const std::string&>();
}

Header read_header(std::string_view file) {
  uint64_t length = 0;
  if (file.size() < sizeof length) {
    throw std::invalid_argument("it is " + std::to_string(file.size()) +
                                " bytes long, too short for a safetensors header");
  }
  for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<unsigned char>(file[i]);
  if (length > file.size() - sizeof length) {
    throw std::invalid_argument("its header claims " + std::to_string(length) +
                                " bytes, more than the file holds");
  }
  if (length > largest_header(file.size())) {
    throw std::invalid_argument("its header has " + std::to_string(length) +
                                " bytes, more than a model's");
  }
  const std::string_view text = file.substr(sizeof length, length);
  Header header;
  header.tensors = parse(text);
  header.data_at = sizeof length + length;
  if (!header.tensors.is_object() || !header.tensors.contains("__metadata__") ||
      !header.tensors["__metadata__"].is_object()) {
    throw std::invalid_argument(
        "it has no metadata that describes a model (another program's safetensors file?)");
  }
  header.metadata = std::move(header.tensors["__metadata__"]);
  header.tensors.erase("__metadata__");
  const Json format = header.metadata.value("format", Json());
  if (format != "gru") {
    throw std::invalid_argument("its format is " + brief(format) +
                                ", expected 'gru' (another program's safetensors file?)");
  }
  const std::string version = need(header.metadata, "format_version");
  if (version != kFormatVersion) {
    throw std::invalid_argument("its format version is '" + version.substr(0, 40) +
                                "', this library reads " + kFormatVersion);
  }
  const std::string stored = need(header.metadata, "checksum");
  const std::size_t key = text.find(kChecksumKey + stored + "\"");
  if (key == std::string_view::npos || stored.size() != kChecksumDigits ||
      checksum_of(file, sizeof length + key + std::strlen(kChecksumKey)) != stored) {
    throw std::invalid_argument("its checksum does not match: the file is damaged or was edited");
  }
  return header;
}

bool matches(const Json& entry, const char* dtype, const Parameter& parameter, std::size_t begin,
             std::size_t end) {
  return entry.is_object() && entry.value("dtype", Json()) == dtype &&
         entry.value("shape", Json()) == Json(parameter.shape) &&
         entry.value("data_offsets", Json()) == Json(std::vector<std::size_t>{begin, end});
}

template <class R>
Sequential<R> read_model(std::string_view file, const Header& header,
                         const std::vector<LayerSpec>& specs) {
  // Everything the architecture claims is compared with the file before any memory is reserved.
  std::size_t offset = 0, count = 0;
  const std::size_t held = file.size() - header.data_at;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    for (const Parameter& parameter : parameters_of(specs[i])) {
      const std::string name = tensor_name(i, parameter);
      const std::size_t bytes = static_cast<std::size_t>(parameter.size) * sizeof(R);
      if (bytes > held - offset) {
        throw std::invalid_argument("it is too short for tensor " + name);
      }
      if (!header.tensors.contains(name) ||
          !matches(header.tensors.at(name), kDtype<R>, parameter, offset, offset + bytes)) {
        throw std::invalid_argument("tensor " + name +
                                    " is missing or not as its architecture says");
      }
      offset += bytes;
      ++count;
    }
  }
  if (offset != held || count != header.tensors.size()) {
    throw std::invalid_argument("it holds data that its architecture does not name");
  }
  std::vector<std::shared_ptr<Layer<R>>> layers;
  const char* data = file.data() + header.data_at;
  for (const LayerSpec& spec : specs) {
    auto layer = std::make_shared<Layer<R>>(spec);
    for (const Parameter& parameter : layer->parameters()) {
      R* to = layer->block().get() + parameter.offset;
      const std::size_t bytes = static_cast<std::size_t>(parameter.size) * sizeof(R);
      std::memcpy(to, data, bytes);
      data += bytes;
      swap_update_gate(spec, parameter, to);
    }
    layer->freeze();
    layers.push_back(std::move(layer));
  }
  Sequential<R> model(std::move(layers));
  verify(model, parse(need(header.metadata, "self_check")));
  return model;
}

LoadedModel parse_model(std::string_view file) {
  const Header header = read_header(file);
  const std::vector<LayerSpec> specs = read_architecture(need(header.metadata, "architecture"));
  Metadata metadata;
  const Json user = parse(need(header.metadata, "user"));
  for (const auto& [key, value] : user.items()) {
    metadata[key] = value.get<std::string>();
  }
  const std::string dtype = need(header.metadata, "dtype");
  if (dtype == "float32") return {read_model<float>(file, header, specs), metadata};
  if (dtype == "float64") return {read_model<double>(file, header, specs), metadata};
  throw std::invalid_argument("its dtype must be float32 or float64, got " + dtype);
}

}  // namespace

template <class R>
void save_model(const Sequential<R>& model, const std::string& path, const Metadata& metadata) {
  Json sample = Json::array();
  for (const double value : self_check(model)) sample.push_back(to_json(value));
  const std::string user = Json(metadata).dump();
  Json header;
  header["__metadata__"] = {{"format", "gru"},
                            {"format_version", kFormatVersion},
                            {"dtype", sizeof(R) == 4 ? "float32" : "float64"},
                            {"architecture", describe(model).dump()},
                            {"self_check", sample.dump()},
                            {"user", user},
                            {"checksum", std::string(kChecksumDigits, '0')}};
  std::string data;
  for (std::size_t i = 0; i < model.layers().size(); ++i) {
    const Layer<R>& layer = *model.layers()[i];
    const std::shared_ptr<R> weights = layer.block();
    for (const Parameter& parameter : layer.parameters()) {
      const R* block = weights.get() + parameter.offset;
      std::vector<R> values(block, block + parameter.size);
      swap_update_gate(layer.spec(), parameter, values.data());
      const std::size_t bytes = values.size() * sizeof(R), begin = data.size();
      data.append(reinterpret_cast<const char*>(values.data()), bytes);
      header[tensor_name(i, parameter)] = {{"dtype", kDtype<R>},
                                           {"shape", parameter.shape},
                                           {"data_offsets", {begin, begin + bytes}}};
    }
  }
  std::string text = header.dump();
  std::string why = excess(text);
  if (why.empty()) why = excess(user);
  if (why.empty() && text.size() + 8 > largest_header(text.size() + data.size())) {
    why = "has " + std::to_string(text.size()) + " bytes, more than a model's";
  }
  if (!why.empty()) {
    throw std::invalid_argument(path + " could not be opened again: the header, with " +
                                std::to_string(user.size()) + " bytes of metadata, " + why);
  }
  text.append((8 - text.size() % 8) % 8, ' ');  // safetensors aligns the data
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(text.size() >> (8 * i) & 0xff);
  file += text;
  file += data;
  const std::size_t digits = file.find(kChecksumKey) + std::strlen(kChecksumKey);
  file.replace(digits, kChecksumDigits, checksum_of(file, digits));
  write_file_atomically(path, file);
}

namespace {

// name: of what the bytes are, for messages.
LoadedModel parse_named(std::string_view file, const std::string& name) {
  try {
    return parse_model(file);
  } catch (const nlohmann::json::exception&) {
    throw std::invalid_argument(name +
                                " is not an intact gru model file: its header is not valid JSON");
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(name + " is not an intact gru model file: " + error.what());
  }
}

}  // namespace

LoadedModel load_model(const std::string& path) { return parse_named(read_file(path), path); }

LoadedModel load_model(const void* bytes, std::size_t size) {
  if (!bytes) throw std::invalid_argument("bytes must not be null");
  return parse_named({static_cast<const char*>(bytes), size}, "the model in memory");
}

template GRU_API void save_model(const Sequential<float>&, const std::string&, const Metadata&);
template GRU_API void save_model(const Sequential<double>&, const std::string&, const Metadata&);

}  // namespace gru
