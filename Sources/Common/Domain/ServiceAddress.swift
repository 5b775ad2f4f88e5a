/// The origin of links in answers and frames. Stored links have no origin, so a changed address also corrects old
/// messages.
public enum ServiceAddress {
    /// `PUBLIC_URL`. A worker sets it once, before it starts further threads.
    nonisolated(unsafe) public static var publicURL = ""
}

extension FileInfo {
    /// A thumbnail's path: this is stored, and clients see it when there is no `PUBLIC_URL`.
    public static func thumbnailPath(of message: UUID128) -> String { "/api/v1/files/\(message)/thumbnail" }
}
