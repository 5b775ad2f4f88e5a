import Glibc

/// The path of this process's executable; nil when the kernel does not tell.
public func pathOfThisProgram() -> String? {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let length = readlink("/proc/self/exe", &buffer, buffer.count)
    return length > 0 ? String(decoding: buffer[..<length].map(UInt8.init(bitPattern:)), as: UTF8.self) : nil
}

/// Locates files that belong to the programs but have no setting: beside an installed program (`/usr/bin/fcgi-api` has
/// `/usr/share/chat/…`), otherwise in the checkout that it was started from.
struct InstalledFiles {
    /// The folder of the executable; nil when the kernel does not tell.
    private let programFolder: String?
    private let isFolder: (String) -> Bool

    init(program: String?, isFolder: @escaping (String) -> Bool) {
        // For a replaced executable the kernel adds " (deleted)" to the name; the folder stays the same.
        programFolder = program?.lastIndex(of: "/").flatMap { program?[..<$0] }.map(String.init)
        self.isFolder = isFolder
    }

    /// The files of the running program.
    static func ofThisProcess() -> InstalledFiles {
        InstalledFiles(program: pathOfThisProgram()) { folder in
            var found = stat()
            return stat(folder, &found) == 0 && found.st_mode & S_IFMT == S_IFDIR
        }
    }

    /// Whether the program is beside its `share/chat`, as in the package.
    var isInstalled: Bool { programFolder.map { isFolder("\($0)/../share/chat/docs") } ?? false }

    /// `shared` is the name below `share/chat`, `checkout` the one in the project. When neither exists, the checkout's
    /// name is returned: the error that follows shows it.
    func folder(shared: String, checkout: String) -> String {
        guard let programFolder else { return checkout }
        let installed = "\(programFolder)/../share/chat/\(shared)"
        return isFolder(installed) ? installed : checkout
    }
}
