import ChatCore

// What S3 answers: XML so flat that its elements are found by their names.

/// The text of the first element of that name.
func element(_ name: String, in bytes: [UInt8]) -> String? { element(name, in: String(decoding: bytes, as: UTF8.self)) }

func element(_ name: String, in text: String) -> String? { elements(name, in: text).first }

func elements(_ name: String, in text: String) -> [String] {
    var found: [String] = []
    var rest = text[...]
    while let start = rest.firstRange(of: "<\(name)>"), let end = rest[start.upperBound...].firstRange(of: "</\(name)>")
    {
        found.append(String(rest[start.upperBound..<end.lowerBound]))
        rest = rest[end.upperBound...]
    }
    return found
}

/// The listed parts of an upload, over as many pages as they come in.
struct S3PartList {
    private var found: [Int: (part: StoredPart, storedAt: String)] = [:]
    /// The number behind which the next page begins.
    private(set) var marker = 0

    var parts: [StoredPart] { found.values.map { $0.part }.sorted { $0.number < $1.number } }

    /// - Returns: whether there is another page.
    mutating func add(page bytes: [UInt8]) -> Bool {
        let text = String(decoding: bytes, as: UTF8.self)
        for part in elements("Part", in: text) {
            guard let number = element("PartNumber", in: part).flatMap({ Int($0) }),
                let etag = element("ETag", in: part)
            else { continue }
            let size = element("Size", in: part).flatMap { Int64($0) } ?? 0
            let storedAt = element("LastModified", in: part) ?? ""
            marker = max(marker, number)
            // SeaweedFS lists a part that was replaced beside the one that replaced it.
            if let known = found[number], known.storedAt >= storedAt { continue }
            found[number] = (StoredPart(number: number, etag: unquoted(etag), size: size), storedAt)
        }
        return element("IsTruncated", in: text) == "true"
    }

    /// The quotes around an ETag come as themselves or as one of XML's names for them.
    private func unquoted(_ etag: String) -> String {
        ["&quot;", "&#34;", "&#x22;", "\""].reduce(etag) { $0.replacing($1, with: "") }
    }
}

extension PendingUpload {
    /// From ListMultipartUploads.
    static func list(_ bytes: [UInt8]) -> [PendingUpload] {
        elements("Upload", in: String(decoding: bytes, as: UTF8.self)).compactMap { entry in
            guard let key = element("Key", in: entry), let upload = element("UploadId", in: entry) else { return nil }
            return PendingUpload(key: key, upload: upload, begunAt: element("Initiated", in: entry) ?? "")
        }
    }
}
