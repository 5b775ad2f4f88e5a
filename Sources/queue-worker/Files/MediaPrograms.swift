import ChatCore
import Glibc

/// libvips' and ExifTool's programs and ffprobe, each run once, in a process of its own that prlimit(1) and timeout(1)
/// bound. What is not installed is not asked.
final class MediaPrograms: MediaTools {
    /// What each of them may use.
    struct Limits {
        /// Bytes of addresses.
        var memory = 2 << 30
        var cpuSeconds = 20
        var seconds = 30
        /// Bytes of each file that it writes.
        var file = 512 << 20
        /// Of a picture that is decoded: a small file may hold very many.
        var pixels = 50_000_000
    }

    /// Longest side of a thumbnail, and of the picture that a BlurHash is made of.
    private static let thumbnail = 512
    private static let tiny = 32

    /// Where they are looked for.
    private let path: String
    private let limits: Limits
    private let jail: MediaJail

    init(path: String = "/usr/local/bin:/usr/bin:/bin", limits: Limits = Limits(), jail: MediaJail = .none) {
        self.path = path
        self.limits = limits
        self.jail = jail
    }

    func describe(picture file: String) -> PictureDescription {
        // First, and of what cannot be shown as well: other programs may show it.
        var description = PictureDescription(hasLostLocation: removeLocation(file))
        guard let facts = run(["vipsheader", "-a", file], file), let media = MediaPrograms.size(facts) else {
            return description
        }
        description.media = media
        if let (hash, thumbnail) = thumbnail(of: file, media) {
            description.media?.blurHash = hash
            description.thumbnail = thumbnail
        }
        return description
    }

    private func thumbnail(of file: String, _ media: FileMedia) -> (hash: String?, path: String)? {
        guard let width = media.width, let height = media.height,
            case (let pixels, false) = width.multipliedReportingOverflow(by: height), pixels <= limits.pixels
        else { return nil }
        let (small, tiny) = ("\(file).jpg", "\(file).ppm")
        guard
            run(
                ["vipsthumbnail", file, "-s", "\(Self.thumbnail)x\(Self.thumbnail)>", "-o", "\(small)[Q=80,strip]"],
                file) != nil,
            run(["vipsthumbnail", small, "-s", "\(Self.tiny)x\(Self.tiny)", "-o", "\(tiny)[strip]"], file) != nil
        else { return nil }
        return (MediaPrograms.blurHash(tiny), small)
    }

    func duration(of file: String) -> Int? {
        let words = [
            "ffprobe", "-v", "error", "-protocol_whitelist", "file", "-format_whitelist", Self.formats, "-show_entries",
            "format=duration", "-of", "default=noprint_wrappers=1:nokey=1", file,
        ]
        guard let text = run(words, file),
            let seconds = Double(text.prefix { $0 != "\n" }), seconds.isFinite, seconds >= 0, seconds < 1e7
        else { return nil }
        return Int(seconds * 1000)
    }

    /// Containers of films and sounds; none of the lists that name other files.
    private static let formats =
        "mov,matroska,webm,ogg,mp3,wav,flac,aac,avi,mpegts,mpeg,asf,flv,amr,aiff,caf,au,w64"

    /// What says where a picture was taken: as EXIF's, IPTC's and XMP's names are in ExifTool.
    private static let places = [
        "GPSLatitude", "GPSLongitude", "GPSPosition", "GPSAltitude", "City", "State", "Country", "CountryCode",
        "Location", "Sub-location", "Province-State", "Country-PrimaryLocationName", "Country-PrimaryLocationCode",
        "ContentLocationName", "ContentLocationCode", "LocationCreatedCity", "LocationCreatedCountryName",
        "LocationCreatedSublocation", "LocationShownCity", "LocationShownCountryName", "LocationShownSublocation",
    ]
    private static let removed = [
        "gps:all", "xmp-exif:gps*", "iptc:City", "iptc:Sub-location", "iptc:Province-State",
        "iptc:Country-PrimaryLocationName", "iptc:Country-PrimaryLocationCode", "iptc:ContentLocationName",
        "iptc:ContentLocationCode", "xmp-photoshop:City", "xmp-photoshop:State", "xmp-photoshop:Country",
        "xmp-iptcCore:Location", "xmp-iptcCore:CountryCode", "xmp-iptcExt:LocationCreated", "xmp-iptcExt:LocationShown",
    ]

    /// - Returns: whether there was one; then the file is another now.
    private func removeLocation(_ file: String) -> Bool {
        let condition = Self.places.map { "defined ${\($0)}" }.joined(separator: " or ")
        // Status 2: the condition does not hold. -m: a picture that is cut off is changed, too.
        let words = ["exiftool", "-m", "-q", "-q", "-overwrite_original", "-if", condition]
        return run(words + Self.removed.map { "-\($0)=" } + [file], file) != nil
    }

    /// From `name: value` lines.
    private static func size(_ facts: String) -> FileMedia? {
        func number(_ name: String) -> Int? {
            facts.split(separator: "\n").first { $0.hasPrefix("\(name): ") }.flatMap {
                Int($0.dropFirst(name.utf8.count + 2).prefix { $0.isNumber })
            }
        }
        guard let width = number("width"), let height = number("height") else { return nil }
        let orientation = number("exif-ifd0-Orientation") ?? number("orientation")
        // 5 to 8 lie on their side.
        let isTurned = orientation.map { (5...8).contains($0) } ?? false
        return FileMedia(
            width: isTurned ? height : width, height: isTurned ? width : height, orientation: orientation)
    }

    private static func blurHash(_ path: String) -> String? {
        guard let picture = PortablePixmap(bytes(of: path)) else { return nil }
        return BlurHash(pixels: picture.pixels, width: picture.width, height: picture.height)?.text
    }

    /// At most as many as the tiny picture has.
    private static func bytes(of path: String) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        return [UInt8](unsafeUninitializedCapacity: tiny * tiny * 3 + 256) { buffer, count in
            count = max(0, read(descriptor, buffer.baseAddress, buffer.count))
        }
    }

    /// - Parameter file: what it is about; its folder is all that the program may write to.
    /// - Returns: what it printed; nil when it failed, was ended, or is not there.
    private func run(_ words: [String], _ file: String) -> String? {
        // exiftool's own scratch file, and all that it may change.
        guard let folder = file.lastIndex(of: "/").map({ String(file[..<$0]) }), !folder.isEmpty else { return nil }
        let bounds = [
            "prlimit", "--as=\(limits.memory)", "--cpu=\(limits.cpuSeconds)", "--fsize=\(limits.file)", "--core=0",
            "--nofile=64", "timeout", "-k", "2", "\(limits.seconds)",
        ]
        // VIPS_BLOCK_UNTRUSTED: none of the loaders that its authors would not feed with strangers' files.
        let environment = ["PATH=\(path)", "LANG=C.UTF-8", "VIPS_BLOCK_UNTRUSTED=1", "VIPS_CONCURRENCY=1"]
        guard let walls = jail.words(folder: folder, environment: environment) else { return nil }
        return ChildProcess.output(of: bounds + walls + words, environment: environment)
    }
}

/// `P6`, one byte a colour.
struct PortablePixmap {
    let width: Int
    let height: Int
    let pixels: [UInt8]

    init?(_ bytes: [UInt8]) {
        var rest = bytes[...]
        /// The next word, past white space and comments; one white space behind the last belongs to it.
        func word() -> String? {
            while let byte = rest.first, byte <= 0x20 || byte == UInt8(ascii: "#") {
                rest = byte == UInt8(ascii: "#") ? rest.drop { $0 != 10 } : rest.dropFirst()
            }
            let text = rest.prefix { $0 > 0x20 }
            rest = rest.dropFirst(text.count + 1)
            return text.isEmpty ? nil : String(decoding: text, as: UTF8.self)
        }
        guard word() == "P6", let width = word().flatMap({ Int($0) }), let height = word().flatMap({ Int($0) }),
            word() == "255", (1...4096).contains(width), (1...4096).contains(height),
            rest.count == width * height * 3
        else { return nil }
        self.width = width
        self.height = height
        pixels = Array(rest)
    }
}
