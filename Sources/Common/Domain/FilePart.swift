/// A range of an open file.
public struct FilePart: Sendable {
    public var descriptor: Int32
    public var offset: Int64
    public var length: Int64
    /// The MD5 in base64 when the sender gave it: the store verifies it again.
    public var toldMD5: String?
    /// Closes the file when the last reference is released.
    private let owner: (any Sendable & AnyObject)?

    public init(descriptor: Int32, offset: Int64, length: Int64, owner: (any Sendable & AnyObject)? = nil) {
        self.descriptor = descriptor
        self.offset = offset
        self.length = length
        self.owner = owner
    }
}
