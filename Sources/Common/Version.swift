/// The version of the three programs, of their packages and of the documents. `deploy/package/version` and a test
/// compare the rest with it.
public let chatVersion = "1.0.0"
