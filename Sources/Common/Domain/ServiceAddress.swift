/// The address that links in answers and frames begin with. What is stored has no origin, so that another address heals old
/// messages too.
public enum ServiceAddress {
    /// `PUBLIC_URL`. Set once, by a worker that has one thread yet.
    nonisolated(unsafe) public static var publicURL = ""
}

extension FileInfo {
    /// A thumbnail's place, as it is stored and as clients without `PUBLIC_URL` see it.
    public static func thumbnailPath(of message: UUID128) -> String { "/api/v1/files/\(message)/thumbnail" }
}
