/* Preloaded into a program, makes the C library report a machine of 128 cores, under both names of
 * the function. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>

long __sysconf(int name) {
  if (name == _SC_NPROCESSORS_ONLN || name == _SC_NPROCESSORS_CONF) return 128;
  return ((long (*)(int))dlsym(RTLD_NEXT, "__sysconf"))(name);
}

long sysconf(int name) { return __sysconf(name); }
