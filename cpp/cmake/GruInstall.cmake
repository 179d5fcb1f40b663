# What `cmake --install` puts down: headers, both libraries and gruConfig.cmake, by which
# find_package(gru CONFIG) finds them wherever they were moved. A wheel holds the same below gru/, but
# for the static library: with both it would be larger than the 3 MB it may be.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

if(GRU_PYTHON)  # a wheel has no links and no system folders
  set(gru_include gru/include)
  set(gru_lib gru/lib)
else()
  set(gru_include ${CMAKE_INSTALL_INCLUDEDIR})
  set(gru_lib ${CMAKE_INSTALL_LIBDIR})
  set_target_properties(gru_shared PROPERTIES VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
endif()

# The static library needs OpenMP's run-time library when it is linked, by name: neither its
# compiler flag nor its CMake package reach the user's build.
set(gru_link_libraries pthread)
if(GRU_OPENMP)
  list(PREPEND gru_link_libraries ${OpenMP_CXX_LIB_NAMES})
endif()
list(REMOVE_DUPLICATES gru_link_libraries)

install(DIRECTORY cpp/include/ DESTINATION ${gru_include} FILES_MATCHING PATTERN "*.h*")
install(TARGETS gru_shared LIBRARY DESTINATION ${gru_lib})
if(GRU_PYTHON)
  install(TARGETS gru ARCHIVE DESTINATION ${gru_lib} COMPONENT static EXCLUDE_FROM_ALL)
else()
  install(TARGETS gru ARCHIVE DESTINATION ${gru_lib})
endif()
configure_package_config_file(cpp/cmake/gruConfig.cmake.in gruConfig.cmake
  INSTALL_DESTINATION ${gru_lib}/cmake/gru PATH_VARS gru_include gru_lib)
write_basic_package_version_file(gruConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gruConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/gruConfigVersion.cmake
        DESTINATION ${gru_lib}/cmake/gru)
