// imports: build the dependencies early
import Hummingbird
