# Third-party libraries, all from Debian's packages, behind one target each so that rooms need not
# know whether the build is static (release) or dynamic (everything else).
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# gRPC C++ without TLS: the kubelet talks over a unix socket.
add_library(kerf_grpc INTERFACE)
if(KERF_STATIC)
  # Debian's unsecure .pc file forgets upb, so the secure list is taken and its names replaced.
  # Archives are named by path: CMake reorders -Bstatic and -l among each other.
  pkg_check_modules(GRPC REQUIRED grpc++ protobuf)
  set(archives "")
  foreach(lib IN LISTS GRPC_STATIC_LIBRARIES ITEMS upb)
    if(lib STREQUAL "grpc++" OR lib STREQUAL "grpc")
      set(lib "${lib}_unsecure")
    elseif(lib MATCHES "^(ssl|crypto|pthread|dl|rt|m|atomic)$")
      continue()
    endif()
    find_library(KERF_ARCHIVE_${lib} NAMES lib${lib}.a REQUIRED)
    list(APPEND archives ${KERF_ARCHIVE_${lib}})
  endforeach()
  list(REMOVE_DUPLICATES archives)
  list(JOIN archives "," archives)
  target_link_libraries(kerf_grpc INTERFACE
    "$<LINK_GROUP:RESCAN,${archives}>" Threads::Threads dl rt m)
else()
  find_library(KERF_GRPCPP NAMES grpc++_unsecure REQUIRED)
  find_library(KERF_GRPC NAMES grpc_unsecure REQUIRED)
  find_library(KERF_GPR NAMES gpr REQUIRED)
  find_library(KERF_PROTOBUF NAMES protobuf REQUIRED)
  # gRPC's headers lock mutexes of abseil's inline.
  find_library(KERF_ABSL_SYNC NAMES absl_synchronization REQUIRED)
  target_link_libraries(kerf_grpc INTERFACE
    ${KERF_GRPCPP} ${KERF_GRPC} ${KERF_GPR} ${KERF_PROTOBUF} ${KERF_ABSL_SYNC} Threads::Threads)
endif()

# kerf_static_or_shared(<target> <library>): the .a in a release, the .so elsewhere.
function(kerf_static_or_shared target library)
  add_library(${target} INTERFACE)
  if(KERF_STATIC)
    find_library(KERF_ARCHIVE_${library} NAMES lib${library}.a REQUIRED)
    target_link_libraries(${target} INTERFACE ${KERF_ARCHIVE_${library}})
  else()
    target_link_libraries(${target} INTERFACE ${library})
  endif()
endfunction()
kerf_static_or_shared(kerf_yaml yaml-cpp)

# Header-only.
add_library(kerf_fmt INTERFACE)
target_compile_definitions(kerf_fmt INTERFACE FMT_HEADER_ONLY=1)
add_library(kerf_json INTERFACE)
add_library(kerf_cli11 INTERFACE)
add_library(kerf_asio INTERFACE)
target_compile_definitions(kerf_asio INTERFACE ASIO_STANDALONE ASIO_NO_DEPRECATED)
if(KERF_SANITIZE MATCHES "thread")
  # ThreadSanitizer does not model stand-alone fences, and g++ warns of them; asio's queues are
  # ordered by mutexes all the same.
  target_compile_definitions(kerf_asio INTERFACE ASIO_DISABLE_FENCED_BLOCK)
endif()
target_link_libraries(kerf_asio INTERFACE Threads::Threads)

# TLS towards the API server. Initialised by its first use.
add_library(kerf_tls INTERFACE)
if(KERF_STATIC)
  find_library(KERF_ARCHIVE_ssl NAMES libssl.a REQUIRED)
  find_library(KERF_ARCHIVE_crypto NAMES libcrypto.a REQUIRED)
  target_link_libraries(kerf_tls INTERFACE ${KERF_ARCHIVE_ssl} ${KERF_ARCHIVE_crypto} dl)
else()
  target_link_libraries(kerf_tls INTERFACE ssl crypto)
endif()

# bcrypt, for the passwords of the metrics exporter: part of the C library's family on Debian.
kerf_static_or_shared(kerf_crypt crypt)

if(NOT KERF_FUZZ)
  find_package(GTest REQUIRED)
endif()
