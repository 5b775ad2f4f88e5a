import ChatCore

// Reads the answers of S3: its XML is flat enough to find elements by name.

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

/// The listed parts of an upload, collected over all pages.
struct S3PartList {
    private var found: [Int: (part: StoredPart, storedAt: String)] = [:]
    /// The part number after which the next page begins.
    private(set) var marker = 0

    var parts: [StoredPart] { found.values.map { $0.part }.sorted { $0.number < $1.number } }

    /// - Returns: whether another page follows.
    mutating func add(page bytes: [UInt8]) -> Bool {
        let text = String(decoding: bytes, as: UTF8.self)
        for part in elements("Part", in: text) {
            guard let number = element("PartNumber", in: part).flatMap({ Int($0) }),
                let etag = element("ETag", in: part)
            else { continue }
            let size = element("Size", in: part).flatMap { Int64($0) } ?? 0
            let storedAt = element("LastModified", in: part) ?? ""
            marker = max(marker, number)
            // SeaweedFS lists a replaced part beside its replacement.
            if let known = found[number], known.storedAt >= storedAt { continue }
            found[number] = (StoredPart(number: number, etag: unquoted(etag), size: size), storedAt)
        }
        return element("IsTruncated", in: text) == "true"
    }

    /// The quotes around an ETag arrive as themselves or as one of their XML entities.
    private func unquoted(_ etag: String) -> String {
        ["&quot;", "&#34;", "&#x22;", "\""].reduce(etag) { $0.replacing($1, with: "") }
    }
}

extension PendingUpload {
    /// Reads the answer of ListMultipartUploads.
    static func list(_ bytes: [UInt8]) -> [PendingUpload] {
        elements("Upload", in: String(decoding: bytes, as: UTF8.self)).compactMap { entry in
            guard let key = element("Key", in: entry), let upload = element("UploadId", in: entry) else { return nil }
            return PendingUpload(key: key, upload: upload, begunAt: element("Initiated", in: entry) ?? "")
        }
    }
}
