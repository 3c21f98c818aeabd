// What every program of NVIDIA's that kerf stands in for answers in the same way: --help and
// --version, wherever they stand on the command line.
#pragma once

#include <algorithm>
#include <iostream>
#include <span>
#include <string>
#include <string_view>

#include "cli/version.h"

namespace kerf::cli {

// Whether one of the words is this option, by its long or its short name.
inline bool given(std::span<const std::string> words, std::string_view name,
                  std::string_view letter) {
  return std::ranges::any_of(words, [&](const std::string& x) { return x == name || x == letter; });
}

// Answers --help (by `print_help`) or --version, and says that nothing else is to be done.
inline bool answer_usual(std::span<const std::string> words, void (*print_help)()) {
  if (given(words, "--help", "-h")) {
    print_help();
    return true;
  }
  if (!given(words, "--version", "-v")) return false;
  std::cout << version_text();
  return true;
}

}  // namespace kerf::cli
