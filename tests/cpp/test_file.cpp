#include <doctest/doctest.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <system_error>

#include "file_io.hpp"
#include "make.hpp"

namespace gru {
namespace {

std::string temporary(const char* name) {
  const char* folder = std::getenv("TMPDIR");
  return std::string(folder ? folder : "/tmp") + "/" + name;
}

// Without the flush to disk that a thousand files do not need.
void overwrite(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

Sequential<float> small_model() {
  LayerSpec spec = test::recurrent(Kind::gru, 2, 3);
  spec.update_gate = "new";
  return Sequential<float>({test::random_layer<float>(spec),
                            test::random_layer<float>(test::pool("last")),
                            test::random_layer<float>(test::linear(3, 2))});
}

TEST_CASE("a model comes back with the same bits") {
  const std::string path = temporary("gru_test_round_trip.safetensors");
  const Sequential<float> model = small_model();
  save_model(model, path, {{"note", "x"}});
  const LoadedModel loaded = load_model(path);
  std::remove(path.c_str());
  CHECK(loaded.metadata == Metadata{{"note", "x"}});
  const auto& again = std::get<Sequential<float>>(loaded.model);
  REQUIRE(again.layers().size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    const Layer<float>&a = *model.layers()[i], &b = *again.layers()[i];
    CHECK(b.frozen());
    REQUIRE(a.size() == b.size());
    CHECK(std::memcmp(a.block().get(), b.block().get(), a.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("every truncation and every flipped bit is refused") {
  const std::string path = temporary("gru_test_damaged.safetensors");
  save_model(small_model(), path);
  const std::string whole = read_file(path);
  for (std::size_t size = 0; size < whole.size(); size += 3) {
    overwrite(path, whole.substr(0, size));
    CHECK_THROWS_AS(load_model(path), std::invalid_argument);
  }
  for (std::size_t bit = 0; bit < 8 * whole.size(); bit += 5) {
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    overwrite(path, damaged);
    CHECK_THROWS_AS(load_model(path), std::invalid_argument);
  }
  overwrite(path, whole + "x");
  CHECK_THROWS_AS(load_model(path), std::invalid_argument);
  overwrite(path, whole);
  CHECK_NOTHROW(load_model(path));
  std::remove(path.c_str());
}

// A file of this header and data, its length field right.
std::string file_of(const std::string& header, const std::string& data = "") {
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
  return file + header + data;
}

// The file with the digits of its checksum made right again.
std::string resealed(std::string file) {
  const std::string key = "\"checksum\":\"";
  const std::size_t digits = file.find(key) + key.size();
  file.replace(digits, 16, "0000000000000000");
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char byte : file) {
    hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3ULL;
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return file.replace(digits, 16, text);
}

TEST_CASE("hostile headers are refused") {
  const std::string path = temporary("gru_test_hostile.safetensors");
  const std::string nested(300000, '[');
  for (const std::string& header :
       {// A checksum that JSON finds in one place and a search for its key in another.
        std::string(R"({"__metadata__":{"format":"gru","format_version":"1",)"
                    R"("checksum" : "0123456789abcdef","x":{"checksum":""}}})"),
        std::string(R"({"__metadata__":{"format":"gru","format_version":"1","checksum":""}})"),
        "{\"a\":" + nested,
        "{\"__metadata__\":{\"format\":" + nested + std::string(300000, ']') + "}}",
        std::string("{}"), std::string("[]"), std::string("null"), std::string("")}) {
    overwrite(path, file_of(header));
    CHECK_THROWS_AS(load_model(path), std::invalid_argument);
  }
  std::remove(path.c_str());
}

TEST_CASE("an edited weight fails the self-check even where the checksum was made right") {
  const std::string path = temporary("gru_test_edited.safetensors");
  save_model(small_model(), path);
  std::string file = read_file(path);
  overwrite(path, resealed(file));
  CHECK_NOTHROW(load_model(path));
  float bias;
  std::memcpy(&bias, &file[file.size() - sizeof bias], sizeof bias);
  bias += 0.01f;
  std::memcpy(&file[file.size() - sizeof bias], &bias, sizeof bias);
  overwrite(path, resealed(file));
  std::string message;
  try {
    load_model(path);
  } catch (const std::invalid_argument& error) {
    message = error.what();
  }
  CHECK(message.find("self-check fails") != std::string::npos);
  std::remove(path.c_str());
}

TEST_CASE("weights that give no finite number come back too") {
  const std::string path = temporary("gru_test_infinite.safetensors");
  for (const float value :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    const Sequential<float> model = small_model();
    model.layers()[2]->block().get()[7] = value;
    save_model(model, path);
    CHECK_NOTHROW(load_model(path));
  }
  std::remove(path.c_str());
}

TEST_CASE("what the system refuses is a system error") {
  CHECK_THROWS_AS(load_model("/nowhere/model.safetensors"), std::system_error);
  CHECK_THROWS_AS(save_model(small_model(), "/nowhere/model.safetensors"), std::system_error);
  CHECK_THROWS_AS(load_model("/tmp"), std::system_error);
}

}  // namespace
}  // namespace gru
