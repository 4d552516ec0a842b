// witness is a witness of transparency logs (C2SP tlog-witness, tlog-cosignature) made of code that is not ours: the packages
// note and tlog of Go's checksum database. For tests.
//
//	witness new NAME FILE                    makes a key in FILE and prints its verifier key
//	witness serve FILE LOG_KEY STATE ADDRESS [CERTIFICATE KEY]
//	                                         cosigns checkpoints of one log, by TLS where it has a certificate; prints its URL
//
// What it has cosigned last stands in the file STATE, as size and root, and the checkpoint in STATE.checkpoint.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const algCosignature = 4

func keyHash(name string, key []byte) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n"), key...))
	return binary.BigEndian.Uint32(sum[:])
}

// cosigner signs as cosignature/v1.
type cosigner struct {
	name string
	key  ed25519.PrivateKey
}

func (c *cosigner) public() []byte {
	return append([]byte{algCosignature}, c.key.Public().(ed25519.PublicKey)...)
}

func (c *cosigner) Name() string    { return c.name }
func (c *cosigner) KeyHash() uint32 { return keyHash(c.name, c.public()) }
func (c *cosigner) Sign(message []byte) ([]byte, error) {
	now := uint64(time.Now().Unix())
	signed := append([]byte(fmt.Sprintf("cosignature/v1\ntime %d\n", now)), message...)
	return append(binary.BigEndian.AppendUint64(nil, now), ed25519.Sign(c.key, signed)...), nil
}

func (c *cosigner) verifierKey() string {
	return fmt.Sprintf("%s+%08x+%s", c.name, c.KeyHash(), base64.StdEncoding.EncodeToString(c.public()))
}

func newKey(name, file string) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	fmt.Println((&cosigner{name, key}).verifierKey())
	return os.WriteFile(file, []byte(name+"\n"+base64.StdEncoding.EncodeToString(key.Seed())+"\n"), 0o600)
}

func readKey(file string) (*cosigner, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 2 {
		return nil, errors.New("a key's file has a name and a seed")
	}
	seed, err := base64.StdEncoding.DecodeString(lines[1])
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, errors.New("a seed has 32 bytes in base64")
	}
	return &cosigner{lines[0], ed25519.NewKeyFromSeed(seed)}, nil
}

type witness struct {
	signer *cosigner
	log    note.Verifier
	state  string
	mutex  sync.Mutex
}

func (w *witness) stored() (tlog.Tree, error) {
	text, err := os.ReadFile(w.state)
	if errors.Is(err, os.ErrNotExist) {
		return tlog.Tree{}, nil
	}
	if err != nil {
		return tlog.Tree{}, err
	}
	var size int64
	var root string
	if _, err := fmt.Sscanf(string(text), "%d %s", &size, &root); err != nil {
		return tlog.Tree{}, err
	}
	hash, err := tlog.ParseHash(root)
	return tlog.Tree{N: size, Hash: hash}, err
}

func (w *witness) store(tree tlog.Tree, checkpoint []byte) error {
	for file, text := range map[string][]byte{w.state: []byte(fmt.Sprintf("%d %s\n", tree.N, tree.Hash)),
		w.state + ".checkpoint": checkpoint} {
		if err := os.WriteFile(file+".new", text, 0o600); err != nil {
			return err
		}
		if err := os.Rename(file+".new", file); err != nil {
			return err
		}
	}
	return nil
}

// parse takes the body apart: old size, proof, and the note behind an empty line.
func parse(body []byte) (old int64, proof tlog.TreeProof, signed []byte, err error) {
	head, signed, found := bytes.Cut(body, []byte("\n\n"))
	if !found {
		return 0, nil, nil, errors.New("no empty line")
	}
	lines := strings.Split(string(head), "\n")
	number := strings.TrimPrefix(lines[0], "old ")
	if number == lines[0] {
		return 0, nil, nil, errors.New("no old size")
	}
	if old, err = strconv.ParseInt(number, 10, 64); err != nil || old < 0 || strconv.FormatInt(old, 10) != number {
		return 0, nil, nil, errors.New("no old size")
	}
	if len(lines) > 64 {
		return 0, nil, nil, errors.New("too long a proof")
	}
	for _, line := range lines[1:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return 0, nil, nil, err
		}
		proof = append(proof, hash)
	}
	return old, proof, signed, nil
}

func (w *witness) addCheckpoint(body []byte) (status int, answer string) {
	old, proof, signed, err := parse(body)
	if err != nil {
		return 400, err.Error()
	}
	origin, _, _ := strings.Cut(string(signed), "\n")
	if origin != w.log.Name() {
		return 404, "an unknown log"
	}
	opened, err := note.Open(signed, note.VerifierList(w.log))
	if err != nil {
		return 403, err.Error()
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 {
		return 400, "no checkpoint"
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || old > size {
		return 400, "no size, or one below the old"
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return 400, err.Error()
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	stored, err := w.stored()
	if err != nil {
		return 500, err.Error()
	}
	if stored.N != old {
		return 409, fmt.Sprintf("%d\n", stored.N)
	}
	switch {
	case old == 0:
		if len(proof) != 0 {
			return 422, "a proof from nothing"
		}
	case old == size:
		if root != stored.Hash || len(proof) != 0 {
			return 422, "another root of the same size"
		}
	default:
		if err := tlog.CheckTree(proof, size, root, old, stored.Hash); err != nil {
			return 422, err.Error()
		}
	}
	cosigned, err := note.Sign(&note.Note{Text: opened.Text, Sigs: opened.Sigs}, w.signer)
	if err != nil {
		return 500, err.Error()
	}
	if err := w.store(tlog.Tree{N: size, Hash: root}, cosigned); err != nil {
		return 500, err.Error()
	}
	// note.Sign puts the new signature behind those that were there.
	text := strings.TrimSuffix(string(cosigned), "\n")
	return 200, text[strings.LastIndexByte(text, '\n')+1:] + "\n"
}

func (w *witness) ServeHTTP(out http.ResponseWriter, request *http.Request) {
	if request.Method != "POST" || request.URL.Path != "/some/prefix/add-checkpoint" {
		http.NotFound(out, request)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(out, request.Body, 1<<20))
	if err != nil {
		http.Error(out, err.Error(), 400)
		return
	}
	status, answer := w.addCheckpoint(body)
	if status == 409 {
		out.Header().Set("Content-Type", "text/x.tlog.size")
	}
	out.WriteHeader(status)
	io.WriteString(out, answer)
}

func serve(keyFile, logKey, state, address string, certificate []string) error {
	signer, err := readKey(keyFile)
	if err != nil {
		return err
	}
	log, err := note.NewVerifier(logKey)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	w := &witness{signer: signer, log: log, state: state}
	if len(certificate) == 2 {
		fmt.Printf("https://%s/some/prefix\n", listener.Addr())
		return http.ServeTLS(listener, w, certificate[0], certificate[1])
	}
	fmt.Printf("http://%s/some/prefix\n", listener.Addr())
	return http.Serve(listener, w)
}

func main() {
	err := errors.New("usage: witness new NAME FILE, or witness serve FILE LOG_KEY STATE ADDRESS [CERTIFICATE KEY]")
	if len(os.Args) == 4 && os.Args[1] == "new" {
		err = newKey(os.Args[2], os.Args[3])
	} else if (len(os.Args) == 6 || len(os.Args) == 8) && os.Args[1] == "serve" {
		err = serve(os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "witness:", err)
		os.Exit(1)
	}
}
