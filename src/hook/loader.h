// How programs in a container come to find the driver's libraries, which lie where the host has
// them: the configuration and cache of glibc's loader, the path file of musl's, and the choice of
// an image's own newer libcuda.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hook/arguments.h"
#include "hook/container_root.h"

namespace kerf::hook {

// ld.so.conf as it must be so that files in ld.so.conf.d count; nothing when it is so.
std::optional<std::string> with_include(std::string_view ld_so_conf);

// musl's path file (an empty text stands for its default) with the folders that it lacks; nothing
// when it lacks none.
std::optional<std::string> with_folders(std::string_view musl_path,
                                        const std::vector<std::string>& folders);

// Whether libraries of version `image` serve where the host's driver is `host`: only a newer major
// one is of use. False when one of the two is no version.
bool newer_major(std::string_view image, std::string_view host);

// Makes the folders known to the loaders in the container and has glibc's cache written anew, by
// the first of these programs of the host that is there: arguments.ldconfig, the same with ".real",
// "ldconfig" in `own_directory`. What it wrote or left, in words.
Result<std::string> update_library_cache(const ContainerRoot& root, const Arguments& arguments,
                                         const std::string& own_directory);

// Puts an image's compatibility libraries in front of the host's where they serve. They are named
// to the loader, never mounted; update-ldcache must follow. What it did, in words.
Result<std::string> enable_cuda_compat(const ContainerRoot& root, const Arguments& arguments);

}  // namespace kerf::hook
