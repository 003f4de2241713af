// placeholder
import NIOCore
import NIOPosix
