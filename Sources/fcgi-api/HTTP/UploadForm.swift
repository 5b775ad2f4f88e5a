import ChatCore

/// A form with files, read to its end: files were written to disk while they arrived, other fields are texts.
struct UploadForm {
    static let maxField = 8192
    static let maxFiles = 10
    private static let buffer = 65_536
    /// The most bytes of a form besides its files.
    private static let maxAround =
        MultipartForm.maxParts * (MultipartForm.maxHead + maxField) + MultipartForm.maxAround

    /// At least one.
    let files: [UploadedFile]
    private let fields: [String: String]

    /// Reads the request's body to its end.
    /// - Parameters:
    ///   - maxFile: bytes of each file.
    ///   - many: allows more than one file.
    init(_ request: Request, maxFile: Int64, folder: String, many: Bool = false) throws(Refusal) {
        try request.refuseEncodings()
        guard let type = request.header("content-type") else {
            throw Refusal(.unsupportedMediaType, "the body must be multipart/form-data")
        }
        var form = try MultipartForm(contentType: type)
        let most = maxFile * Int64(many ? Self.maxFiles : 1) + Int64(Self.maxAround)
        guard request.contentLength <= most else { throw UploadForm.tooLarge(maxFile) }
        var reading = FormReading(request, maxFile: maxFile, folder: folder, maxFiles: many ? Self.maxFiles : 1)
        var buffer = [UInt8](repeating: 0, count: Self.buffer)
        var got = 0
        while got < request.contentLength {
            let count = buffer.withUnsafeMutableBytes { request.read($0) }
            guard count > 0 else { break }
            got += count
            try form.feed(buffer[..<count]) { event throws(Refusal) in try reading.take(event) }
        }
        guard got == request.contentLength else {
            throw Refusal(.malformed, "the body is cut off: \(got) of \(request.contentLength) bytes came")
        }
        try form.finish()
        guard !reading.files.isEmpty else { throw .invalid("File", reading.hadFile ? "is empty" : "is missing") }
        files = reading.files
        fields = reading.fields
    }

    /// The first file, for forms with exactly one.
    var file: UploadedFile { files[0] }

    /// Nil when absent or empty.
    subscript(name: String) -> String? { fields[name].flatMap { $0.isEmpty ? nil : $0 } }

    func number(_ name: String) throws(Refusal) -> Int {
        guard let text = self[name] else { throw .invalid(name, "is missing") }
        guard text.utf8.count <= 6, let number = Int(text), text.utf8.first != UInt8(ascii: "+") else {
            throw .invalid(name, "is not a whole number")
        }
        return number
    }

    static func tooLarge(_ limit: Int64) -> Refusal {
        Refusal(.tooLarge, "the file is larger than \(limit) bytes", field: "File")
    }
}

struct UploadedFile {
    let content: TemporaryFile
    let head: PartHead
    /// The MD5 in base64, if the client sent one.
    let toldMD5: String?

    var size: Int64 { content.size }

    /// Programs send application/octet-stream when they do not know the type: it counts as none.
    var mediaType: MediaType? {
        head.contentType.flatMap { MediaType($0) }.flatMap { $0 == .unknown ? nil : $0 }
    }
}

/// Collects the parts of a form while they arrive.
struct FormReading {
    private let maxFile: Int64
    private let folder: String
    private let maxFiles: Int
    /// Checksums in the request's own headers, valid for its only file.
    private let wanted: [String: String]
    private(set) var files: [UploadedFile] = []
    private(set) var fields: [String: String] = [:]
    private(set) var hadFile = false
    private var name = ""
    private var field: [UInt8]?
    private var file: (content: TemporaryFile, head: PartHead, sums: Checksums)?

    init(_ request: Request, maxFile: Int64, folder: String, maxFiles: Int) {
        self.maxFile = maxFile
        self.folder = folder
        self.maxFiles = maxFiles
        wanted = Dictionary(
            Checksums.names.compactMap { name in request.header(name).map { (name, $0) } },
            uniquingKeysWith: { first, _ in first })
    }

    mutating func take(_ event: MultipartForm.FormEvent) throws(Refusal) {
        switch event {
        case .begin(let head): try begin(head)
        case .data(let bytes): try add(bytes)
        case .end: try end()
        }
    }

    private mutating func begin(_ head: PartHead) throws(Refusal) {
        name = head.name
        guard name == "File" else {
            guard fields[name] == nil || !Self.onlyOnce.contains(name) else { throw twice }
            field = []
            return
        }
        guard files.count < maxFiles else {
            guard maxFiles > 1 else { throw twice }
            throw Refusal(.malformed, "the form has more than \(maxFiles) files", field: name)
        }
        guard files.isEmpty || wanted.isEmpty else {
            throw Refusal(
                .malformed, "a checksum of the request covers a single file: give each file its own", field: name)
        }
        hadFile = true
        file = (
            try TemporaryFile(in: folder), head, Checksums(Array(wanted.keys) + Array(head.checksums.keys))
        )
    }

    /// Known fields may occur only once. Other fields may repeat, as in a form with several checkboxes.
    private static let onlyOnce: Set<String> = ["Sign", "Redirect", "token", "ChunkIndex", "TotalChunk"]

    private var twice: Refusal { Refusal(.malformed, "the form has a field twice", field: name) }

    private mutating func add(_ bytes: ArraySlice<UInt8>) throws(Refusal) {
        if field != nil {
            guard field!.count + bytes.count <= UploadForm.maxField else {
                throw Refusal(.malformed, "a field of the form has more than \(UploadForm.maxField) bytes", field: name)
            }
            field!.append(contentsOf: bytes)
            return
        }
        guard let content = file?.content else { return }
        guard content.size + Int64(bytes.count) <= maxFile else { throw UploadForm.tooLarge(maxFile) }
        bytes.withUnsafeBytes { file!.sums.update($0) }
        try content.append(bytes)
    }

    private mutating func end() throws(Refusal) {
        if let bytes = field {
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw Refusal(.malformed, "a field of the form is not UTF-8", field: name)
            }
            fields[name] = text
            field = nil
        }
        guard let (content, head, sums) = file else { return }
        file = nil
        // A browser sends an empty part without a name for each file field that was left empty.
        guard content.size > 0 || head.fileName?.isEmpty == false else { return }
        try sums.check(head.checksums)
        try sums.check(wanted)
        let toldMD5 = head.checksums[Checksums.md5] ?? wanted[Checksums.md5]
        files.append(UploadedFile(content: content, head: head, toldMD5: toldMD5))
    }
}
