// The feature file of node-feature-discovery's "local" source: lines "key=value". Blocks as long as
// the disk does. Source: device-plugin contract §8.4.
#pragma once

#include <string>

#include "base/result.h"
#include "labels/labels.h"

namespace kerf::labels {

// One line a label, ordered by key.
std::string to_text(const Labels& labels);

// Makes the file hold exactly these labels: whole or not at all, readable by all, and not touched
// when it holds them already. True when it was written. The directory must be there.
Result<bool> put_file(const std::string& path, const Labels& labels);

// No error when there is none.
Status remove_file(const std::string& path);

}  // namespace kerf::labels
