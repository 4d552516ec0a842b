# Compiler, warnings, sanitizers and the libraries that rooms may name. All of them are Debian packages.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

option(CITADEL_TESTS "build the tests" ON)
option(CITADEL_ROOM_TESTS "those of single rooms, and the benchmarks, too" ON)
set(CITADEL_SANITIZE "" CACHE STRING "value of -fsanitize=, empty for none")
option(CITADEL_FUZZ "build the fuzzers (needs CITADEL_SANITIZE=address,undefined)" OFF)

if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang" OR CMAKE_CXX_COMPILER_VERSION VERSION_LESS 19)
  message(FATAL_ERROR "Citadel is built with clang 19 or later (Debian package clang-19): "
                      "cmake --preset release. g++ 12 miscompiles some coroutine lambdas.")
endif()

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Werror -fno-omit-frame-pointer
                    -fstack-protector-strong)
if(NOT CITADEL_SANITIZE AND CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
add_compile_definitions(
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED BOOST_BEAST_SEPARATE_COMPILATION
  BOOST_BEAST_USE_STD_STRING_VIEW SPDLOG_FMT_EXTERNAL SPDLOG_COMPILED_LIB)
add_link_options(-fuse-ld=lld -Wl,-z,relro,-z,now)
if(CITADEL_SANITIZE)
  add_compile_options(-fsanitize=${CITADEL_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${CITADEL_SANITIZE})
endif()
if(CITADEL_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  # Relative paths and a stable precompiled header let two clones share one cache.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE_PROGRAM})
  add_compile_options(-Xclang -fno-pch-timestamp)
endif()

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json)
find_package(OpenSSL 3 REQUIRED)
find_package(PostgreSQL 15 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(prometheus-cpp REQUIRED COMPONENTS core)
find_package(tomlplusplus REQUIRED)
if(CITADEL_TESTS)
  find_package(GTest REQUIRED)
  find_package(benchmark REQUIRED)
endif()
