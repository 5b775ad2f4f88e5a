import ChatAdapters
import ChatCore
import Testing

@Suite struct TypeRulesTests {
    @Test(
        arguments: [
            // Not inspected, or no bytes: the claim, otherwise the name.
            (.image, nil, "image/png", "a.bin", "image/png"), (.video, nil, "image/png", "a.mp4", "video/mp4"),
            (.file, "application/x-empty", nil, "a.txt", "text/plain"),
            // Pictures, video and audio must be that by their bytes.
            (.image, "application/octet-stream", nil, "a.gif", nil), (.image, "text/plain", "image/png", "a", nil),
            (.video, "text/plain", "video/mp4", "a.mp4", nil), (.audio, "application/octet-stream", nil, "a.mp3", nil),
            (.audio, "audio/mpeg", nil, "a.mp3", "audio/mpeg"), (.image, "image/x-icon", nil, "a", "image/x-icon"),
            (.image, "text/plain", "image/svg+xml", "a.svg", "image/svg+xml"),
            // Any other file has the claimed type, with these exceptions.
            (.file, "application/octet-stream", "image/png", "a.png", "application/octet-stream"),
            (.file, "text/plain", "text/csv", "a", "text/csv"),
            (.file, "image/x-tga", "image/x-tga", "a", "image/x-tga"),
            (.image, nil, nil, "a", "application/octet-stream"), (.file, nil, nil, "a.zip", "application/zip"),
            // Certain results from bytes.
            (.image, "image/jpeg", "image/png", "a.png", "image/jpeg"),
            (.image, "text/html", "image/png", "a.png", nil),
            (.image, "application/x-dosexec", nil, "a.png", nil), (.image, "video/mp4", "image/png", "a.png", nil),
            (.video, "image/png", "video/mp4", "a.mp4", nil), (.audio, "video/mp4", "audio/mp4", "a.m4a", "audio/mp4"),
            (.video, "video/quicktime", "video/mp4", "a.mp4", "video/mp4"),
            // Active content is recognised as such, whatever was claimed.
            (.file, "text/html", "application/pdf", "a.pdf", "text/html"),
            (.file, "application/pdf", "text/html", "a.html", "text/html"),
            (.image, "text/html", "image/svg+xml", "a.svg", "image/svg+xml"),
            (.file, "application/x-executable", "application/zip", "a.zip", "application/zip"),
        ] as [(ContentType, String?, String?, String, String?)])
    func whatIsBelieved(_ kind: ContentType, _ detected: String?, _ claimed: String?, _ name: String, _ type: String?) {
        let decided = try? TypeRules.standard.decide(
            kind, detected: detected.flatMap { MediaType($0) }, claimed: claimed.flatMap { MediaType($0) }, name: name)
        #expect(decided?.description == type)
    }

    @Test func anOperatorsListIsKept() throws {
        let rules = TypeRules([.image: ["image/png", "image/jpeg"], .file: ["application/*"]])
        func decide(_ kind: ContentType, _ detected: String?, _ claimed: String) throws(Refusal) -> String {
            try rules.decide(
                kind, detected: detected.flatMap { MediaType($0) }, claimed: MediaType(claimed), name: "a"
            ).description
        }
        #expect(try decide(.image, "image/png", "image/png") == "image/png")
        #expect(try decide(.file, nil, "application/pdf") == "application/pdf")
        for (kind, detected, claimed) in [
            (ContentType.image, "image/gif", "image/png"), (.image, nil, "application/octet-stream"),
            (.file, "text/html", "application/pdf"),
        ] {
            #expect { try decide(kind, detected, claimed) } throws: { ($0 as? Refusal)?.code == .unsupportedMediaType }
        }
    }

    @Test func libmagicKnowsThem() {
        let typer = MagicContentTyper()
        #expect(
            typer.type(of: [0x89, 0x50, 0x4e, 0x47, 13, 10, 0x1a, 10, 0, 0, 0, 13] + Array("IHDR".utf8))?.description
                == "image/png")
        #expect(typer.type(of: Array("<!doctype html><html><body>x".utf8))?.description == "text/html")
        #expect(typer.type(of: Array("<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>".utf8))?.isActive == true)
        #expect(typer.type(of: [1, 2, 3, 200, 0, 9])?.description == "application/octet-stream")
        // The jump at the start of old DOS programs is no evidence; the letters of newer ones are.
        let jump = [0xe9, 0x10, 0x00, 0xcd, 0x21] + [UInt8](repeating: 0xb4, count: 500)
        #expect(typer.type(of: jump) == .unknown)
        #expect(typer.type(of: [])?.description == "application/x-empty")
        let program = Array("MZ".utf8) + [UInt8](repeating: 0, count: 500)
        #expect(typer.type(of: program)?.description == "application/x-dosexec")
    }
}

@Suite struct PictureMetadataTests {
    private static let jpeg: [UInt8] = [0xff, 0xd8]
    private static let jfif: [UInt8] = [0xff, 0xe0, 0, 4, 0, 0]
    private static let exif: [UInt8] = [0xff, 0xe1, 0, 4, 0, 0]
    private static let scan: [UInt8] = [0xff, 0xda, 0, 4, 0, 0]
    private static let png: [UInt8] = [0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]

    private static func chunk(_ name: String, _ length: UInt8 = 1) -> [UInt8] {
        [0, 0, 0, length] + Array(name.utf8) + [UInt8](repeating: 7, count: Int(length) + 4)
    }

    @Test(
        arguments: [
            (jpeg + jfif + scan, false), (jpeg + jfif + exif + scan, true), (jpeg + exif, true), (jpeg + jfif, true),
            (jpeg, true), (jpeg + [0xff, 0xe0, 0xff, 0xff], true), (jpeg + [0xff, 0xe0, 0, 0, 0xff, 0xda], true),
            (png + chunk("IHDR") + chunk("IDAT", 9) + chunk("IEND", 0), false),
            (png + chunk("IHDR") + chunk("eXIf") + chunk("IEND", 0), true), (png + chunk("IHDR"), true),
            (png + chunk("IHDR") + [255, 255, 255, 255] + Array("IDAT".utf8), true), (png, true),
            (Array("GIF89a".utf8), false), (Array("RIFF".utf8), true), ([], true),
        ] as [([UInt8], Bool)])
    func whatMayBeInAPicture(_ head: [UInt8], _ mayBe: Bool) { #expect(PictureMetadata.mayBe(in: head) == mayBe) }
}
