/// The version of the product. This is the one place that says it.
enum Version {
    static let product = "0.1.0"
}
