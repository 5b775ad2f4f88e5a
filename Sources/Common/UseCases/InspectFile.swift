public import Logging

/// Inspects a file before the room sees it: its type, and whether it is harmful.
public struct InspectFile {
    /// The first bytes, by which a file's type is detected.
    private static let headBytes = 16_384
    private let typer: any ContentTyper
    private let scanner: (any ContentScanner)?
    private let rules: TypeRules
    /// Hold a file during the scan.
    private let files: any WorkFiles
    private let log: Logger

    public init(
        typer: any ContentTyper, scanner: (any ContentScanner)?, rules: TypeRules, files: any WorkFiles, log: Logger
    ) {
        self.typer = typer
        self.scanner = scanner
        self.rules = rules
        self.files = files
        self.log = log
    }

    /// Checks the first chunk, so that a file of the wrong type is refused before the rest is sent.
    func check(first chunk: Chunk, of message: Message) throws(Refusal) {
        try check(first: chunk, message.contentType, name: message.content)
    }

    func check(first chunk: Chunk, _ kind: ContentType, name: String) throws(Refusal) {
        _ = try rules.decide(
            kind, detected: typer.type(of: chunk.bytes.head(Self.headBytes)), claimed: chunk.mediaType, name: name)
    }

    /// Checks the whole file, as stored.
    /// - Parameter size: its size in bytes.
    /// - Throws: `infected`, after moving the file to `quarantine/`; `unsupported_media_type`.
    func inspect(
        _ message: Message, claimed: MediaType?, size: Int64, _ stores: UploadStores
    ) throws(Refusal) -> MediaType {
        let key = UploadFile.key(message)
        // A store refuses a range of an empty object.
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
        let file = try files.file { descriptor throws(Refusal) in
            try stores.objects { store throws(StoreError) in
                try store.fetch(UploadFile.key(message), into: descriptor, atMost: nil)
            }
        }
        let found: String?
        do throws(StoreError) { found = try scanner.scan(file) } catch {
            log.error("a file cannot be scanned", metadata: ["message": "\(message.id)", "error": "\(error)"])
            throw .unavailable("the scanner of files")
        }
        guard let found else { return }
        log.warning(
            "an infected file was moved to quarantine", metadata: ["message": "\(message.id)", "found": "\(found)"])
        try stores.objects { store throws(StoreError) in
            try store.put(
                "quarantine/\(message.id)", contentType: MediaType.unknown.description, from: file)
        }
        throw Refusal(.infected, "the file is infected (\(found)) and was not sent", field: "File")
    }
}
