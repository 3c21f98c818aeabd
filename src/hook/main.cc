// The program kerf-cdi-hook. No logic.
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "hook/run.h"

int main(int argc, char** argv) {
  try {
    const std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
    return kerf::hook::run(words);
  } catch (const std::exception& defect) {
    std::fprintf(stderr, "kerf-cdi-hook: %s\n", defect.what());
    return 1;
  }
}
