/// Says what a file is by its first bytes.
public protocol ContentTyper: AnyObject {
    /// Nil when it cannot say.
    func type(of bytes: [UInt8]) -> MediaType?
}

/// Looks for what harms whoever opens it.
public protocol ContentScanner: AnyObject {
    /// - Returns: the name of what was found; nil: nothing.
    /// - Throws: when it cannot be asked, or refuses to look at a file of that size.
    func scan(_ file: FilePart) throws(StoreError) -> String?
}
