#include "cdqlite.h"
