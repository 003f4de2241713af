import API
import ArgumentParser
import Cluster
import Dqlite
import Logging
import VIP
