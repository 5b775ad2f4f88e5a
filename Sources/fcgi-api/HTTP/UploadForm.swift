import ChatCore
import Crypto

/// A form that was read with one file in it: the file went to the disk while it came, the other fields are texts.
struct UploadForm {
    static let maxField = 8192
    private static let buffer = 65_536
    /// What a form has around the file, at most.
    private static let maxAround = MultipartForm.maxParts * (MultipartForm.maxHead + maxField)

    let file: TemporaryFile
    let head: PartHead
    /// Lower-case hexadecimal.
    let md5: String
    private let fields: [String: String]

    /// Reads the request's body to its end.
    init(_ request: Request, maxFile: Int64, folder: String) throws(Refusal) {
        guard let type = request.header("content-type") else {
            throw Refusal(.unsupportedMediaType, "the body must be multipart/form-data")
        }
        var form = try MultipartForm(contentType: type)
        guard request.contentLength <= maxFile + Int64(Self.maxAround) else { throw UploadForm.tooLarge(maxFile) }
        var reading = Reading(request, maxFile: maxFile, folder: folder)
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
        guard let file = reading.file, let head = reading.head else { throw .invalid("File", "is missing") }
        guard file.size > 0 else { throw .invalid("File", "is empty") }
        self.file = file
        self.head = head
        md5 = try reading.checkedMD5()
        fields = reading.fields
    }

    /// Nil when absent or empty.
    subscript(name: String) -> String? { fields[name].flatMap { $0.isEmpty ? nil : $0 } }

    /// Of the file; what programs send that do not know it counts as nothing.
    var mediaType: MediaType? {
        head.contentType.flatMap { MediaType($0) }.flatMap { $0 == .unknown ? nil : $0 }
    }

    func number(_ name: String) throws(Refusal) -> Int {
        guard let text = self[name] else { throw .invalid(name, "is missing") }
        guard text.utf8.count <= 6, let number = Int(text), text.utf8.first != UInt8(ascii: "+") else {
            throw .invalid(name, "is not a whole number")
        }
        return number
    }

    fileprivate static func tooLarge(_ limit: Int64) -> Refusal {
        Refusal(.tooLarge, "the file is larger than \(limit) bytes", field: "File")
    }
}

/// What the parts become while they come.
private struct Reading {
    private let maxFile: Int64
    private let folder: String
    private let wanted: (md5: String?, sha256: String?)
    private(set) var file: TemporaryFile?
    private(set) var head: PartHead?
    private(set) var fields: [String: String] = [:]
    private var name = ""
    private var field: [UInt8]?
    private var md5 = Insecure.MD5()
    private var sha256: SHA256?

    init(_ request: Request, maxFile: Int64, folder: String) {
        self.maxFile = maxFile
        self.folder = folder
        wanted = (request.header("content-md5"), request.header("x-amz-checksum-sha256"))
    }

    mutating func take(_ event: MultipartForm.Event) throws(Refusal) {
        switch event {
        case .begin(let head): try begin(head)
        case .data(let bytes): try add(bytes)
        case .end: try end()
        }
    }

    private mutating func begin(_ head: PartHead) throws(Refusal) {
        name = head.name
        guard name == "File" else {
            guard fields[name] == nil else { throw twice }
            field = []
            return
        }
        guard file == nil else { throw twice }
        file = try TemporaryFile(in: folder)
        self.head = head
        if wanted.sha256 != nil || head.sha256 != nil { sha256 = SHA256() }
    }

    private var twice: Refusal { Refusal(.malformed, "the form has a field twice", field: name) }

    private mutating func add(_ bytes: ArraySlice<UInt8>) throws(Refusal) {
        if field != nil {
            guard field!.count + bytes.count <= UploadForm.maxField else {
                throw Refusal(.malformed, "a field of the form has more than \(UploadForm.maxField) bytes", field: name)
            }
            field!.append(contentsOf: bytes)
            return
        }
        guard let file else { return }
        guard file.size + Int64(bytes.count) <= maxFile else { throw UploadForm.tooLarge(maxFile) }
        bytes.withUnsafeBytes { raw in
            md5.update(bufferPointer: raw)
            sha256?.update(bufferPointer: raw)
        }
        try file.append(bytes)
    }

    private mutating func end() throws(Refusal) {
        guard let bytes = field else { return }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw Refusal(.malformed, "a field of the form is not UTF-8", field: name)
        }
        fields[name] = text
        field = nil
    }

    /// Of the file; and whoever sent along what it should be is told when it is not.
    func checkedMD5() throws(Refusal) -> String {
        let digest = Array(md5.finalize())
        for wanted in [wanted.md5, head?.md5] where wanted != nil && wanted != base64(digest) {
            throw .invalid("File", "does not match its Content-MD5")
        }
        let sum = sha256.map { base64(Array($0.finalize())) }
        for wanted in [wanted.sha256, head?.sha256] where wanted != nil && wanted != sum {
            throw .invalid("File", "does not match its x-amz-checksum-sha256")
        }
        return digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}

/// RFC 4648, with padding.
func base64(_ bytes: [UInt8]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var text: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
        let group = bytes[start..<min(start + 3, bytes.count)]
        let bits = group.reduce(0) { $0 << 8 | Int($1) } << ((3 - group.count) * 8)
        for place in 0..<4 {
            text.append(place <= group.count ? alphabet[bits >> ((3 - place) * 6) & 63] : UInt8(ascii: "="))
        }
    }
    return String(decoding: text, as: UTF8.self)
}
