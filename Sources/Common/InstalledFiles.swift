import Glibc

/// The file that this process runs; nil when the kernel does not say.
public func pathOfThisProgram() -> String? {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let length = readlink("/proc/self/exe", &buffer, buffer.count)
    return length > 0 ? String(decoding: buffer[..<length].map(UInt8.init(bitPattern:)), as: UTF8.self) : nil
}

/// Where the files lie that belong to the programs and no setting names: beside an installed program
/// (`/usr/bin/fcgi-api` has `/usr/share/chat/…`), else in the checkout that it is started from.
struct InstalledFiles {
    /// The folder of the running program's file; nil: the kernel does not say.
    private let programFolder: String?
    private let isFolder: (String) -> Bool

    init(program: String?, isFolder: @escaping (String) -> Bool) {
        // Of a program whose file was replaced the kernel says "… (deleted)": the folder is the same.
        programFolder = program?.lastIndex(of: "/").flatMap { program?[..<$0] }.map(String.init)
        self.isFolder = isFolder
    }

    /// Those of the running program.
    static func ofThisProcess() -> InstalledFiles {
        InstalledFiles(program: pathOfThisProgram()) { folder in
            var found = stat()
            return stat(folder, &found) == 0 && found.st_mode & S_IFMT == S_IFDIR
        }
    }

    /// `shared` is the name below `share/chat`, `checkout` the one in the project. Neither need be there: then the one
    /// of the checkout is what the error that follows names.
    func folder(shared: String, checkout: String) -> String {
        guard let programFolder else { return checkout }
        let installed = "\(programFolder)/../share/chat/\(shared)"
        return isFolder(installed) ? installed : checkout
    }
}
