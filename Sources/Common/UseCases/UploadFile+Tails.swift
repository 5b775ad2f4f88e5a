/// Additions for uploads that grow piece by piece (tus): a known length, and a last part that is not full yet.
extension UploadFile {
    static func tailKey(_ message: UUID128) -> String { "tails/\(message)" }

    /// Begins an upload of known length and counts it against its owner's quota at once. Safe to repeat.
    ///
    /// - Parameter metadata: the client's own text, returned to it on request.
    public func announce(
        _ length: Int64, _ outline: Outline, metadata: String? = nil, of message: Message
    ) throws(Refusal) {
        guard case .open(let state) = try known(of: message, beginning: outline) else { return }
        try UploadFile.check(total: outline.total, state.total)
        try stores.records { records throws(StoreError) in
            try records.note(length: length, metadata: metadata, of: message.id)
        }
        if rules.quota > 0 { try reserve(length, for: message) }
    }

    /// Runs `body` as the only writer of this upload, unless it takes longer than the lock lasts.
    /// - Throws: `locked` while another request writes.
    public func continuing<T>(_ message: Message, _ body: () throws(Refusal) -> T) throws(Refusal) -> T {
        try stores.alone(message.id, body)
    }

    /// The number of leading parts without a gap.
    public func contiguousParts(of message: Message) throws(Refusal) -> Int {
        guard case .open(let state) = try known(of: message, beginning: nil) else { throw Refusal.uploadEnded }
        guard state.joined == nil else { return state.total }
        return (1...state.total).first { state.parts[$0] == nil }.map { $0 - 1 } ?? state.total
    }

    public func tailSize(of message: Message) throws(Refusal) -> Int64 {
        try stores.objects { store throws(StoreError) in try store.size(of: UploadFile.tailKey(message.id)) } ?? 0
    }

    /// - Parameter size: the expected size in bytes.
    public func fetchTail(of message: Message, into descriptor: Int32, size: Int64) throws(Refusal) {
        let got = try stores.objects { store throws(StoreError) in
            try store.fetch(UploadFile.tailKey(message.id), into: descriptor, atMost: nil)
        }
        guard got == size else { throw .busy("another request continues this upload") }
    }

    public func putTail(_ bytes: FilePart, of message: Message) throws(Refusal) {
        try stores.objects { store throws(StoreError) in
            try store.put(
                UploadFile.tailKey(message.id), contentType: MediaType.unknown.description, from: bytes)
        }
    }

    public func removeTail(of message: Message) throws(Refusal) {
        try stores.objects { store throws(StoreError) in try store.delete(UploadFile.tailKey(message.id)) }
    }
}
