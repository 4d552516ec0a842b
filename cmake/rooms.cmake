# add_room(NAME FLOOR n [SOURCES …] [DEPS room…] [LIBS cmake-target…] [PRIVATE_LIBS …]
#          [TESTS …] [PGTESTS …] [SIMTESTS …] [CRASHTESTS …] [BENCHES …] [FUZZERS …])
#
# A room is a static library `citadel_NAME` of src/NAME. Its includes point only to rooms of a lower floor.
#   TESTS    unit tests, one executable NAME_test, run in parallel with everything.
#   PGTESTS  tests that start their own PostgreSQL and Pgpool-II, one executable NAME_pgtest.
#   SIMTESTS simulations in virtual time, one executable NAME_simtest: pure code that runs for minutes. Not with sanitizers, which
#            make them twenty times as slow; what they call has TESTS as well.
#   CRASHTESTS  tests whose programs are killed, a thousand times and more, one executable NAME_crashtest. Not with sanitizers,
#            whose start takes longer than such a program lives.
#   BENCHES  Google Benchmark, one executable NAME_bench; built, not run by ctest.
#   FUZZERS  each x_fuzz.cpp is an executable of its own; with CITADEL_FUZZ a libFuzzer target, run briefly by ctest.
# Without CITADEL_ROOM_TESTS only the SIMTESTS and CRASHTESTS are built and run, benches by name: `ninja -C build/release pg_bench`.
set(citadel_headers
  <algorithm> <array> <atomic> <chrono> <coroutine> <cstdint> <cstring> <deque> <expected> <functional> <map> <memory>
  <mutex> <optional> <random> <set> <span> <string> <string_view> <thread> <unordered_map> <utility> <variant> <vector>
  <fmt/format.h>
  <boost/asio/any_io_executor.hpp> <boost/asio/awaitable.hpp> <boost/asio/co_spawn.hpp> <boost/asio/detached.hpp>
  <boost/asio/io_context.hpp> <boost/asio/post.hpp> <boost/asio/steady_timer.hpp> <boost/asio/this_coro.hpp>
  <boost/asio/use_awaitable.hpp>)

add_library(citadel_asio STATIC ${CMAKE_SOURCE_DIR}/cmake/asio.cpp)
target_link_libraries(citadel_asio PUBLIC Boost::headers fmt::fmt Threads::Threads)
target_precompile_headers(citadel_asio PRIVATE ${citadel_headers})

# Tests have a precompiled header of their own, with GoogleTest in it.
if(CITADEL_TESTS)
  add_library(citadel_gtest STATIC ${CMAKE_SOURCE_DIR}/cmake/gtest.cpp)
  target_link_libraries(citadel_gtest PUBLIC citadel_asio GTest::gmock GTest::gtest_main)
  target_precompile_headers(citadel_gtest PRIVATE ${citadel_headers} <gmock/gmock.h> <gtest/gtest.h>)
endif()

function(citadel_executable target)
  target_precompile_headers(${target} REUSE_FROM citadel_asio)
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/tests)
endfunction()

function(citadel_gtest_executable target)  # citadel_gtest_executable(TARGET library…)
  target_precompile_headers(${target} REUSE_FROM citadel_gtest)
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(${target} ${ARGN} citadel_gtest)
endfunction()

function(add_room name)
  cmake_parse_arguments(ROOM "" "FLOOR" "SOURCES;DEPS;LIBS;PRIVATE_LIBS;TESTS;PGTESTS;SIMTESTS;CRASHTESTS;BENCHES;FUZZERS" ${ARGN})
  if(NOT DEFINED ROOM_FLOOR)
    message(FATAL_ERROR "room ${name} names no FLOOR")
  endif()
  add_library(citadel_${name} STATIC ${ROOM_SOURCES})
  target_include_directories(citadel_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_precompile_headers(citadel_${name} REUSE_FROM citadel_asio)
  list(TRANSFORM ROOM_DEPS PREPEND citadel_)
  target_link_libraries(citadel_${name} PUBLIC ${ROOM_DEPS} ${ROOM_LIBS} citadel_asio
                        PRIVATE ${ROOM_PRIVATE_LIBS})

  if(CITADEL_TESTS AND CITADEL_ROOM_TESTS AND ROOM_TESTS)
    add_executable(${name}_test ${ROOM_TESTS})
    citadel_gtest_executable(${name}_test citadel_${name})
    add_test(NAME ${name} COMMAND ${name}_test --gtest_brief=1)
    set_tests_properties(${name} PROPERTIES LABELS unit TIMEOUT 600)
  endif()
  if(CITADEL_TESTS AND CITADEL_ROOM_TESTS AND ROOM_PGTESTS)
    add_executable(${name}_pgtest ${ROOM_PGTESTS})
    citadel_gtest_executable(${name}_pgtest citadel_${name} citadel_support)
    add_test(NAME ${name}.pg COMMAND ${name}_pgtest --gtest_brief=1)
    set_tests_properties(${name}.pg PROPERTIES LABELS pg TIMEOUT 900 COST 50
                         ENVIRONMENT CITADEL_TEST_TEMPLATE=${CMAKE_BINARY_DIR}/first_start)
  endif()
  if(CITADEL_TESTS AND ROOM_SIMTESTS AND NOT CITADEL_SANITIZE)
    add_executable(${name}_simtest ${ROOM_SIMTESTS})
    citadel_gtest_executable(${name}_simtest citadel_${name})
    add_test(NAME ${name}.sim COMMAND ${name}_simtest --gtest_brief=1)
    set_tests_properties(${name}.sim PROPERTIES LABELS sim TIMEOUT 600)
  endif()
  if(CITADEL_TESTS AND ROOM_CRASHTESTS AND NOT CITADEL_SANITIZE)
    add_executable(${name}_crashtest ${ROOM_CRASHTESTS})
    citadel_gtest_executable(${name}_crashtest citadel_${name} citadel_support)
    add_test(NAME ${name}.crash COMMAND ${name}_crashtest --gtest_brief=1)
    set_tests_properties(${name}.crash PROPERTIES LABELS crash TIMEOUT 900 COST 60
                         ENVIRONMENT CITADEL_TEST_TEMPLATE=${CMAKE_BINARY_DIR}/first_start)
  endif()
  if(CITADEL_TESTS AND ROOM_BENCHES)
    add_executable(${name}_bench ${ROOM_BENCHES})
    citadel_executable(${name}_bench)
    target_link_libraries(${name}_bench citadel_${name} benchmark::benchmark_main)
    if(NOT CITADEL_ROOM_TESTS)
      set_target_properties(${name}_bench PROPERTIES EXCLUDE_FROM_ALL ON)
    endif()
  endif()
  if(CITADEL_FUZZ)
    foreach(fuzzer ${ROOM_FUZZERS})
      get_filename_component(fuzz_name ${fuzzer} NAME_WE)
      add_executable(${fuzz_name} ${fuzzer})
      citadel_executable(${fuzz_name})
      target_link_libraries(${fuzz_name} citadel_${name})
      target_link_options(${fuzz_name} PRIVATE -fsanitize=fuzzer)
      # Seeds lie in src/ROOM/seeds/FUZZER; what the fuzzer finds beyond them stays in the build folder.
      add_test(NAME fuzz.${fuzz_name} COMMAND ${CMAKE_SOURCE_DIR}/cmake/run_fuzzer.sh $<TARGET_FILE:${fuzz_name}>
               ${CMAKE_CURRENT_SOURCE_DIR}/seeds/${fuzz_name} ${CMAKE_BINARY_DIR}/corpus/${fuzz_name})
      set_tests_properties(fuzz.${fuzz_name} PROPERTIES LABELS fuzz TIMEOUT 300)
    endforeach()
  endif()
endfunction()
