# How everything of ours is compiled and linked. Presets choose KERF_SANITIZE and KERF_STATIC.
set(KERF_SANITIZE "" CACHE STRING "sanitizers, comma separated: address,undefined | thread")
option(KERF_STATIC "link everything but glibc statically (the release shape)" OFF)
option(KERF_FUZZ "build the libFuzzer targets (clang only)" OFF)

add_library(kerf_options INTERFACE)
target_compile_options(kerf_options INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wnon-virtual-dtor -Werror -ffunction-sections
  -fdata-sections)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports false positives of these in std::string and tl::expected when optimising.
  target_compile_options(kerf_options INTERFACE -Wno-maybe-uninitialized -Wno-restrict
    -Wno-array-bounds -Wno-stringop-overflow)
endif()

if(KERF_SANITIZE)
  string(FIND "${KERF_SANITIZE}" "thread" has_thread)
  string(FIND "${KERF_SANITIZE}" "address" has_address)
  if(NOT has_thread EQUAL -1 AND NOT has_address EQUAL -1)
    message(FATAL_ERROR "KERF_SANITIZE: thread and address cannot be combined")
  endif()
  add_compile_options(-fsanitize=${KERF_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=${KERF_SANITIZE})
endif()

if(KERF_FUZZ)
  # Rooms are instrumented for coverage; only the fuzz targets bring libFuzzer's main.
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
endif()

find_program(KERF_LLD ld.lld)
if(KERF_LLD AND NOT KERF_STATIC AND NOT KERF_FUZZ)
  add_link_options(-fuse-ld=lld)
endif()
if(KERF_STATIC)
  add_link_options(-static-libstdc++ -static-libgcc -Wl,--gc-sections -Wl,-O1)
  # OpenSSL brings 30 000 relocations; packed they are not read in whole at each start. The C library
  # understands them from 2.36 on.
  include(CheckLinkerFlag)
  check_linker_flag(CXX -Wl,-z,pack-relative-relocs KERF_HAS_PACKED_RELOCATIONS)
  if(KERF_HAS_PACKED_RELOCATIONS)
    add_link_options(-Wl,-z,pack-relative-relocs)
  endif()
endif()
