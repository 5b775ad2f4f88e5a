/// A part that a client will store directly.
public struct PlannedPart: Sendable, Equatable {
    /// From 1.
    public var index: Int
    /// Bytes.
    public var size: Int64
    /// Base64.
    public var md5: String

    public init(index: Int, size: Int64, md5: String) {
        self.index = index
        self.size = size
        self.md5 = md5
    }
}

/// Uploads straight to the store: ``resume(_:finish:)`` finds the parts and completes the file.
extension UploadFile {
    /// - Parameter seconds: how long the links are valid.
    public func links(
        for parts: [PlannedPart], outline: Outline, of message: Message, seconds: Int
    ) throws(Refusal) -> [PartLink] {
        for part in parts {
            try rules.check(
                Chunk(
                    index: part.index, total: outline.total,
                    bytes: FilePart(descriptor: -1, offset: 0, length: part.size)))
        }
        guard case .open(let state) = try known(of: message, beginning: outline), state.joined == nil else {
            throw Refusal(.conflict, "the file is complete")
        }
        try UploadFile.check(total: outline.total, state.total)
        try check(parts, with: state, message)
        return try parts.map { part throws(Refusal) in
            let link = try stores.objects { store throws(StoreError) in
                store.partLink(
                    part.index, of: UploadFile.key(message), upload: state.upload, size: part.size, md5: part.md5,
                    seconds: seconds)
            }
            guard let link else {
                throw Refusal(.conflict, "this store accepts no parts from clients: send them to /files/{id}/upload")
            }
            return link
        }
    }

    private func check(_ parts: [PlannedPart], with state: UploadState, _ message: Message) throws(Refusal) {
        var sizes = state.parts.mapValues(\.size)
        for part in parts { sizes[part.index] = part.size }
        let size = sizes.values.reduce(0, +)
        try rules.check(size: size)
        if rules.quota > 0 { try reserve(size, for: message) }
    }
}
