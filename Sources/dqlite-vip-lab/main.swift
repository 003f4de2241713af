import ArgumentParser
import Lab
