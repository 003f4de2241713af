#pragma once
// As in CLinux: the shared structs of libc must look alike in all modules of C.
#define _GNU_SOURCE 1
#include <netinet/in.h>
#include <arpa/nameser.h>
#include <resolv.h>
#include <netdb.h>
