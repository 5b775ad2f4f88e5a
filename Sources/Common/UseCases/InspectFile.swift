public import Logging

/// Looks at a file before its room hears of it: what it is, and whether it does harm.
public struct InspectFile {
    /// Bytes from the beginning by which a file's type is known.
    private static let headBytes = 16_384
    private let typer: any ContentTyper
    private let scanner: (any ContentScanner)?
    private let rules: TypeRules
    /// Where a file is while it is scanned.
    private let folder: String
    private let log: Logger

    public init(
        typer: any ContentTyper, scanner: (any ContentScanner)?, rules: TypeRules, folder: String, log: Logger
    ) {
        self.typer = typer
        self.scanner = scanner
        self.rules = rules
        self.folder = folder
        self.log = log
    }

    /// A first chunk, so that a file of the wrong kind is refused before the rest of it is sent.
    func check(first chunk: Chunk, of message: Message) throws(Refusal) {
        try check(first: chunk, message.contentType, name: message.content)
    }

    func check(first chunk: Chunk, _ kind: ContentType, name: String) throws(Refusal) {
        _ = try rules.decide(
            kind, detected: typer.type(of: chunk.bytes.head(Self.headBytes)), claimed: chunk.mediaType, name: name)
    }

    /// The whole file, as the store has it.
    /// - Parameter size: bytes that it has.
    /// - Throws: `infected`, with the file put aside under `quarantine/`; `unsupported_media_type`.
    func inspect(
        _ message: Message, claimed: MediaType?, size: Int64, _ stores: UploadStores
    ) throws(Refusal) -> MediaType {
        let key = UploadFile.key(message)
        // A store refuses to give a range of nothing.
        let head =
            size == 0
            ? [] : try stores.objects { store throws(StoreError) in try store.head(of: key, bytes: Self.headBytes) }
        let type = try type(of: head, claimed: claimed, message)
        try scan(message, stores)
        return type
    }

    private func type(of head: [UInt8], claimed: MediaType?, _ message: Message) throws(Refusal) -> MediaType {
        try rules.decide(
            message.contentType, detected: typer.type(of: head), claimed: claimed, name: message.content)
    }

    private func scan(_ message: Message, _ stores: UploadStores) throws(Refusal) {
        guard let scanner else { return }
        let file = try TemporaryFile(in: folder)
        let size = try stores.objects { store throws(StoreError) in
            try store.fetch(UploadFile.key(message), into: file.descriptor, atMost: nil)
        }
        try file.continueBehind(size)
        let found: String?
        do throws(StoreError) { found = try scanner.scan(file.part()) } catch {
            log.error("a file cannot be scanned", metadata: ["message": "\(message.id)", "error": "\(error)"])
            throw .unavailable("the scanner of files")
        }
        guard let found else { return }
        log.warning("an infected file was put aside", metadata: ["message": "\(message.id)", "found": "\(found)"])
        try stores.objects { store throws(StoreError) in
            try store.put(
                "quarantine/\(message.id)", contentType: MediaType.unknown.description, from: file.part())
        }
        throw Refusal(.infected, "the file is infected (\(found)) and was not sent", field: "File")
    }
}
