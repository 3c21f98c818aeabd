// The main function of every test binary. SIGPIPE is ignored as in the product, so that a peer
// that goes away is seen as an error and not as the end of the test.
#include <csignal>

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
