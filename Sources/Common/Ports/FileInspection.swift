/// Detects a file's type by its first bytes.
public protocol ContentTyper: AnyObject {
    /// Nil when the type is unknown.
    func type(of bytes: [UInt8]) -> MediaType?
}

/// Scans files for malware.
public protocol ContentScanner: AnyObject {
    /// - Returns: the name of the malware; nil: none found.
    /// - Throws: when the scanner cannot be reached, or does not accept a file of that size.
    func scan(_ file: FilePart) throws(StoreError) -> String?
}
