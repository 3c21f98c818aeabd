# A room is a folder under src/ with one responsibility. `kerf_room(plan DEPS inventory_types ...)`
# makes the static library kerf_plan from the folder's .cc files and, if it has *_test.cc files,
# the test binary plan_test. Its include path is a farm of symbolic links that holds the room
# itself and the rooms below it, so an include against the direction does not compile.
#
#   DEPS   rooms whose headers this room may include (their own DEPS come along)
#   LIBS   third-party targets
#   TEST_DEPS / TEST_LIBS  the same for the tests alone
#   EXCLUDE  files of the folder that are not part of the library (a main function)
#
# `kerf_room_types(inventory DEPS base)` declares inventory_types: the folder's types.h alone, for
# pure rooms that must not link, or be able to include, what fills those types.
set(KERF_FARM ${CMAKE_SOURCE_DIR}/build/inc)

add_library(kerf_gtest STATIC ${CMAKE_SOURCE_DIR}/cmake/gtest_main.cc)
if(NOT KERF_FUZZ)
  target_link_libraries(kerf_gtest PUBLIC kerf_options GTest::gmock)
  target_precompile_headers(kerf_gtest PRIVATE <gtest/gtest.h> <gmock/gmock.h>)
else()
  set_target_properties(kerf_gtest PROPERTIES EXCLUDE_FROM_ALL ON)
endif()

function(kerf_farm room folder deps)
  set(dir ${KERF_FARM}/${room})
  file(MAKE_DIRECTORY ${dir})
  set(folders ${folder})
  foreach(dep IN LISTS deps)
    get_property(reach GLOBAL PROPERTY KERF_REACH_${dep})
    if(NOT reach)
      message(FATAL_ERROR "room ${room} depends on ${dep}, which is not declared above it")
    endif()
    list(APPEND folders ${reach})
  endforeach()
  list(REMOVE_DUPLICATES folders)
  # What it may no longer include must not stay.
  file(GLOB links RELATIVE ${dir} ${dir}/*)
  foreach(name IN LISTS links)
    if(NOT name IN_LIST folders)
      file(REMOVE ${dir}/${name})
    endif()
  endforeach()
  set_property(GLOBAL PROPERTY KERF_REACH_${room} "${folders}")
  foreach(name IN LISTS folders)
    if(NOT EXISTS ${dir}/${name})
      file(CREATE_LINK ${CMAKE_SOURCE_DIR}/src/${name} ${dir}/${name} SYMBOLIC)
    endif()
  endforeach()
endfunction()

function(kerf_room_types folder)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  kerf_farm(${folder}_types ${folder} "${ARG_DEPS}")
  add_library(kerf_${folder}_types INTERFACE)
  list(TRANSFORM ARG_DEPS PREPEND kerf_ OUTPUT_VARIABLE targets)
  target_link_libraries(kerf_${folder}_types INTERFACE ${targets})
endfunction()

function(kerf_room room)
  cmake_parse_arguments(ARG "" "" "DEPS;LIBS;TEST_DEPS;TEST_LIBS;EXCLUDE" ${ARGN})
  kerf_farm(${room} ${room} "${ARG_DEPS}")
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  foreach(file IN LISTS ARG_EXCLUDE)
    list(REMOVE_ITEM sources ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  endforeach()
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(TRANSFORM ARG_DEPS PREPEND kerf_ OUTPUT_VARIABLE targets)
  if(sources)
    add_library(kerf_${room} STATIC ${sources})
    target_include_directories(kerf_${room} PRIVATE ${KERF_FARM}/${room})
    target_link_libraries(kerf_${room} PRIVATE kerf_options PUBLIC ${targets} ${ARG_LIBS})
  else()
    add_library(kerf_${room} INTERFACE)
    target_link_libraries(kerf_${room} INTERFACE ${targets} ${ARG_LIBS})
  endif()
  set(test_deps ${ARG_DEPS} ${ARG_TEST_DEPS})
  if(tests AND NOT KERF_FUZZ)
    kerf_farm(${room}_test ${room} "${test_deps}")
    list(TRANSFORM ARG_TEST_DEPS PREPEND kerf_ OUTPUT_VARIABLE test_targets)
    kerf_test(${room}_test SOURCES ${tests}
      LIBS kerf_${room} ${test_targets} ${ARG_TEST_LIBS} INCLUDES ${KERF_FARM}/${room}_test)
  endif()
endfunction()

# kerf_test(name SOURCES ... LIBS ... INCLUDES ... ENV ...): one GoogleTest binary, one ctest entry
# a test case so that they run side by side.
function(kerf_test name)
  if(KERF_FUZZ)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS;INCLUDES;ENV" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${ARG_INCLUDES})
  target_link_libraries(${name} PRIVATE kerf_options kerf_gtest ${ARG_LIBS})
  target_precompile_headers(${name} REUSE_FROM kerf_gtest)
  include(GoogleTest)
  gtest_discover_tests(${name} NO_PRETTY_VALUES TEST_PREFIX ${name}. DISCOVERY_MODE PRE_TEST
    PROPERTIES TIMEOUT 300 ENVIRONMENT "${ARG_ENV}")
endfunction()
