#include <doctest/doctest.h>

#include <cstdio>
#include <cstring>
#include <fstream>
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

Model<float> small_model() {
  LayerSpec spec = test::recurrent("gru", 2, 3);
  spec.update_gate = "new";
  return Model<float>({test::random_layer<float>(spec),
                       test::random_layer<float>(test::pool("last")),
                       test::random_layer<float>(test::linear(3, 2))});
}

TEST_CASE("a model comes back with the same bits") {
  const std::string path = temporary("gru_test_round_trip.safetensors");
  const Model<float> model = small_model();
  save_model(model, path, {{"note", "x"}});
  const LoadedModel loaded = load_model(path);
  std::remove(path.c_str());
  CHECK(loaded.metadata == Metadata{{"note", "x"}});
  const auto& again = std::get<Model<float>>(loaded.model);
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

TEST_CASE("what the system refuses is a system error") {
  CHECK_THROWS_AS(load_model("/nowhere/model.safetensors"), std::system_error);
  CHECK_THROWS_AS(save_model(small_model(), "/nowhere/model.safetensors"), std::system_error);
  CHECK_THROWS_AS(load_model("/tmp"), std::system_error);
}

}  // namespace
}  // namespace gru
