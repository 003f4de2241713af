#pragma once
#include <dqlite.h>
