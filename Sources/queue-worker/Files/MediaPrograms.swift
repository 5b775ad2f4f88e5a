import ChatCore
import Glibc

/// libvips' programs, ExifTool and ffprobe. Each call runs in a process of its own, limited by prlimit(1) and
/// timeout(1). A program that is not installed is skipped.
final class MediaPrograms: MediaTools {
    /// The limits of each process.
    struct MediaLimits {
        /// Bytes of address space.
        var memory = 2 << 30
        var cpuSeconds = 20
        var seconds = 30
        /// Bytes of each file that it writes.
        var file = 512 << 20
        /// Pixels of a decoded picture: a small file may contain very many.
        var pixels = 50_000_000
    }

    /// The longest side of a thumbnail, and of the picture behind a BlurHash.
    private static let thumbnail = 512
    private static let tiny = 32

    /// The PATH for these programs.
    private let path: String
    private let limits: MediaLimits
    private let jail: MediaJail

    init(path: String = "/usr/local/bin:/usr/bin:/bin", limits: MediaLimits = MediaLimits(), jail: MediaJail = .none) {
        self.path = path
        self.limits = limits
        self.jail = jail
    }

    func describe(picture file: String) -> PictureDescription {
        // First, and also for pictures that cannot be displayed here: other programs may show them.
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

    /// Containers of video and audio; no playlists, which name other files.
    private static let formats =
        "mov,matroska,webm,ogg,mp3,wav,flac,aac,avi,mpegts,mpeg,asf,flv,amr,aiff,caf,au,w64"

    /// The metadata that tells where a picture was taken, by ExifTool's names for EXIF, IPTC and XMP.
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

    /// - Returns: whether a location was found; the file was rewritten then.
    private func removeLocation(_ file: String) -> Bool {
        let condition = Self.places.map { "defined ${\($0)}" }.joined(separator: " or ")
        // Status 2: the condition is false. -m: truncated pictures are changed too.
        let words = ["exiftool", "-m", "-q", "-q", "-overwrite_original", "-if", condition]
        return run(words + Self.removed.map { "-\($0)=" } + [file], file) != nil
    }

    /// Parses `name: value` lines.
    private static func size(_ facts: String) -> FileMedia? {
        func number(_ name: String) -> Int? {
            facts.split(separator: "\n").first { $0.hasPrefix("\(name): ") }.flatMap {
                Int($0.dropFirst(name.utf8.count + 2).prefix { $0.isNumber })
            }
        }
        guard let width = number("width"), let height = number("height") else { return nil }
        let orientation = number("exif-ifd0-Orientation") ?? number("orientation")
        // Orientations 5 to 8 swap width and height.
        let isTurned = orientation.map { (5...8).contains($0) } ?? false
        return FileMedia(
            width: isTurned ? height : width, height: isTurned ? width : height, orientation: orientation)
    }

    private static func blurHash(_ path: String) -> String? {
        guard let picture = PortablePixmap(bytes(of: path)) else { return nil }
        return BlurHash(pixels: picture.pixels, width: picture.width, height: picture.height)?.text
    }

    /// Reads at most the bytes of the tiny picture.
    private static func bytes(of path: String) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        return [UInt8](unsafeUninitializedCapacity: tiny * tiny * 3 + 256) { buffer, count in
            count = max(0, read(descriptor, buffer.baseAddress, buffer.count))
        }
    }

    /// - Parameter file: the input; the program may write only to its folder.
    /// - Returns: the output; nil when the program failed, was ended, or is not installed.
    private func run(_ words: [String], _ file: String) -> String? {
        // Room for exiftool's scratch file; nothing else may be written.
        guard let folder = file.lastIndex(of: "/").map({ String(file[..<$0]) }), !folder.isEmpty else { return nil }
        let bounds = [
            "prlimit", "--as=\(limits.memory)", "--cpu=\(limits.cpuSeconds)", "--fsize=\(limits.file)", "--core=0",
            "--nofile=64", "timeout", "-k", "2", "\(limits.seconds)",
        ]
        // VIPS_BLOCK_UNTRUSTED switches off the loaders that libvips' authors consider unsafe for untrusted files.
        let environment = ["PATH=\(path)", "LANG=C.UTF-8", "VIPS_BLOCK_UNTRUSTED=1", "VIPS_CONCURRENCY=1"]
        guard let walls = jail.words(folder: folder, environment: environment) else { return nil }
        return ChildProcess.output(of: bounds + walls + words, environment: environment)
    }
}

/// A `P6` file with one byte per colour.
struct PortablePixmap {
    let width: Int
    let height: Int
    let pixels: [UInt8]

    init?(_ bytes: [UInt8]) {
        var rest = bytes[...]
        /// The next word after white space and comments; consumes one white space after it.
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
