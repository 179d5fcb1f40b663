# Kernels: the same source once per instruction set, each an object library of its own.
#
# What keeps the sets apart (each rule has a test in tests/test_kernel_objects.py):
#  - GRU_ISA names the namespace and -DEigen= renames Eigen's, so that no two sets share a symbol;
#  - no exceptions, no RTTI, no static locals: nothing runs before the processor was asked;
#  - optimised in every build type: a debug build keeps fast kernels and the same bits.

if(GRU_TSAN)  # clang takes minutes for each set, and races are the same in all of them
  set(gru_isa_names baseline)
  set_source_files_properties(cpp/src/dispatch.cpp PROPERTIES
    COMPILE_DEFINITIONS GRU_BASELINE_ALONE)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
  set(gru_isa_names baseline v3 v4)
  set(gru_isa_flags_v3 -march=x86-64-v3)
  set(gru_isa_flags_v4 -march=x86-64-v4)
else()
  set(gru_isa_names baseline)  # aarch64: NEON is the baseline
endif()
list(JOIN gru_isa_names " " GRU_ISA_LEVELS)

function(gru_add_kernels)
  foreach(isa IN LISTS gru_isa_names)
    add_library(gru_kernels_${isa} OBJECT cpp/src/kernels/kernels.cpp)
    target_include_directories(gru_kernels_${isa} SYSTEM PRIVATE ${GRU_EIGEN_INCLUDE})
    target_compile_definitions(gru_kernels_${isa} PRIVATE
      GRU_ISA=${isa} Eigen=gru_eigen_${isa} EIGEN_MAX_ALIGN_BYTES=64 EIGEN_NO_DEBUG)
    target_compile_options(gru_kernels_${isa} PRIVATE
      ${gru_isa_flags_${isa}} -O3 -fno-exceptions -fno-rtti -fno-threadsafe-statics)
    target_link_libraries(gru_kernels_${isa} PRIVATE gru_flags)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # GCC's own AVX-512 header sets off the first, Eigen's PacketBlock the second.
      target_compile_options(gru_kernels_${isa} PRIVATE
        -Wno-maybe-uninitialized -Wno-ignored-attributes)
    endif()
    if(GRU_TSAN)
      target_compile_options(gru_kernels_${isa} PRIVATE -O1 ${gru_sanitizers})
    elseif(GRU_SANITIZE)
      # The unrolled tiles would take ten minutes each with every check inline. Reads and writes are
      # all checked, by calls; of the undefined behaviour, what ASan cannot see.
      target_compile_options(gru_kernels_${isa} PRIVATE
        -O1 -fsanitize=address,undefined -fno-sanitize-recover=all
        -fno-sanitize=null,alignment,object-size,pointer-overflow)
      if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        target_compile_options(gru_kernels_${isa} PRIVATE
          "SHELL:--param asan-instrumentation-with-call-threshold=0" "SHELL:--param asan-stack=0")
      endif()
    endif()
    list(APPEND gru_kernels $<TARGET_OBJECTS:gru_kernels_${isa}>)
  endforeach()
  set(gru_kernels ${gru_kernels} PARENT_SCOPE)
endfunction()
