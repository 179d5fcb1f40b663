# Finds the two header-only libraries: as CMake packages of the system first, then as the wheels
# that carry them (cmeel-eigen, nlohmann-json), in the Python environment the build runs in.

find_package(Eigen3 CONFIG QUIET)
if(Eigen3_FOUND AND Eigen3_VERSION VERSION_GREATER_EQUAL 3.4)
  get_target_property(GRU_EIGEN_INCLUDE Eigen3::Eigen INTERFACE_INCLUDE_DIRECTORIES)
endif()
find_package(nlohmann_json 3.10 CONFIG QUIET)
if(nlohmann_json_FOUND)
  get_target_property(GRU_JSON_INCLUDE nlohmann_json::nlohmann_json INTERFACE_INCLUDE_DIRECTORIES)
endif()

if(NOT GRU_EIGEN_INCLUDE OR NOT GRU_JSON_INCLUDE)
  if(Python_FOUND)
    execute_process(
      COMMAND ${Python_EXECUTABLE} -c "import sysconfig; print(sysconfig.get_path('purelib'))"
      OUTPUT_VARIABLE gru_site_packages OUTPUT_STRIP_TRAILING_WHITESPACE)
  endif()
  find_path(GRU_EIGEN_INCLUDE Eigen/Core HINTS ${gru_site_packages}
            PATH_SUFFIXES cmeel.prefix/include/eigen3 eigen3)
  find_path(GRU_JSON_INCLUDE nlohmann/json.hpp HINTS ${gru_site_packages}
            PATH_SUFFIXES nlohmann_json/include)
endif()
foreach(gru_header IN ITEMS EIGEN JSON)
  if(NOT GRU_${gru_header}_INCLUDE)
    message(FATAL_ERROR "gru needs Eigen >= 3.4 and nlohmann-json >= 3.10 headers: install them with "
                        "the system's packages, or with pip (cmeel-eigen, nlohmann-json)")
  endif()
endforeach()

# Eigen >= 5 keeps its version in a file of its own.
set(gru_macros "${GRU_EIGEN_INCLUDE}/Eigen/src/Core/util/Macros.h")
if(EXISTS "${GRU_EIGEN_INCLUDE}/Eigen/Version")
  set(gru_macros "${GRU_EIGEN_INCLUDE}/Eigen/Version")
endif()
file(STRINGS "${gru_macros}" gru_version_lines
     REGEX "#define EIGEN_(WORLD|MAJOR|MINOR|PATCH)_VERSION")
foreach(gru_part IN ITEMS WORLD MAJOR MINOR PATCH)
  string(REGEX MATCH "EIGEN_${gru_part}_VERSION +([0-9]+)" gru_match "${gru_version_lines}")
  set(gru_eigen_${gru_part} "${CMAKE_MATCH_1}")
endforeach()
if(gru_eigen_PATCH STREQUAL "")
  set(GRU_EIGEN_VERSION "${gru_eigen_WORLD}.${gru_eigen_MAJOR}.${gru_eigen_MINOR}")
else()
  set(GRU_EIGEN_VERSION "${gru_eigen_MAJOR}.${gru_eigen_MINOR}.${gru_eigen_PATCH}")
endif()
message(STATUS "gru: Eigen ${GRU_EIGEN_VERSION} in ${GRU_EIGEN_INCLUDE}")
